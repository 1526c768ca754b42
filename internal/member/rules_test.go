package member_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// world is a table on its own.
type world struct {
	*testing.T
	table    *member.Table
	now      state.Time
	revision interrex.Revision
	events   []state.Event
}

// newWorld returns a table with the CA of a cluster.
func newWorld(t *testing.T) *world {
	w := &world{T: t, table: member.New()}
	w.must(&member.SetCA{Cert: string(testCA())})
	w.revision = 0
	return w
}

// testCA returns the certificate of a CA, in DER.
func testCA() []byte {
	der, err := os.ReadFile("testdata/ca.der")
	if err != nil {
		panic(err)
	}
	return der
}

// nextCA returns the certificate of another CA, in DER.
func nextCA() []byte {
	der, err := os.ReadFile("testdata/next.der")
	if err != nil {
		panic(err)
	}
	return der
}

// do decodes, checks and applies a command.
func (w *world) do(c state.Command) (*member.Reply, error) {
	w.Helper()
	decoded, err := w.table.Decode(c.Append(nil))
	if err == nil {
		err = w.table.Check(w.now, decoded)
	}
	if err != nil {
		return nil, err
	}
	w.revision++
	turn := &state.Turn{Revision: w.revision, Now: w.now, Wall: testreplica.Wall(w.now), Table: machine.MemberTable}
	reply := w.table.Apply(turn, decoded)
	w.events = append(w.events, turn.Events()...)
	return reply.(*member.Reply), nil
}

func (w *world) must(c state.Command) *member.Reply {
	w.Helper()
	reply, err := w.do(c)
	if err != nil {
		w.Fatalf("%#v: %v", c, err)
	}
	return reply
}

// refused checks the kind of a refusal, and that its text says something.
func (w *world) refused(c state.Command, kind interrex.Kind, says string) {
	w.Helper()
	before := len(w.events)
	_, err := w.do(c)
	if interrex.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		w.Errorf("%T is answered with %v, not with %q that says %q", c, err, kind, says)
	}
	if len(w.events) != before {
		w.Errorf("%T was refused and has published %v", c, w.events[before:])
	}
}

// token creates a join token.
func (w *world) token(uses uint64, only string) jointoken.Token {
	w.Helper()
	token := jointoken.New(jointoken.Pin{1})
	w.must(&member.CreateJoinToken{Key: string(token.PublicKey()), For: only, Uses: uses, TTL: time.Hour})
	return token
}

func TestATokenAdmitsAsOftenAsItMay(t *testing.T) {
	w := newWorld(t)
	token, key := w.token(2, ""), newKey(t)
	first := w.must(admit(t, "n1", token, key, nil)).Member
	if first.Added != testreplica.Wall(0) || first.Revision != 2 || first.Incarnation != "" || first.NonVoter {
		t.Errorf("it is %+v", first)
	}
	w.must(admit(t, "n1", token, key, nil)) // its answer was lost
	if left := w.table.JoinToken(token.ID()).Left(); left != 1 {
		t.Errorf("%d uses are left after one that was repeated", left)
	}
	w.must(admit(t, "n2", token, newKey(t), nil))
	w.refused(admit(t, "n3", token, newKey(t), nil), interrex.ErrDenied, "was used 2 times")
	w.refused(admit(t, "n1", token, newKey(t), nil), interrex.ErrDenied, "was used 2 times") // a use is of one key
	w.must(admit(t, "n2", w.token(1, "n2"), key, nil))
	w.must(admit(t, "n1", token, key, nil)) // also when it is used up
	kinds := ""
	for _, e := range w.events {
		kinds += e.Kind + " " + e.Key + ","
	}
	if want := "member.added n1,member.changed n1,member.added n2,member.changed n2,member.changed n1,"; kinds != want {
		t.Errorf("the events are %s", kinds)
	}
}

func TestATokenEndsInClusterTime(t *testing.T) {
	w := newWorld(t)
	token := w.token(1, "")
	due, wants := w.table.Due()
	if !wants || due != state.Time(time.Hour) {
		t.Errorf("due at %v, %v", due, wants)
	}
	w.now = due
	w.refused(admit(t, "n1", token, newKey(t), nil), interrex.ErrNotFound, "has ended")
	turn := &state.Turn{Now: w.now}
	if n := w.table.Tick(turn, 10); n != 1 || turn.Revision != 1 || len(w.table.JoinTokens()) != 0 {
		t.Errorf("%d ended, at revision %d, and there are %v", n, turn.Revision, w.table.JoinTokens())
	}
	w.refused(&member.RevokeJoinToken{ID: token.ID()}, interrex.ErrNotFound, "does not exist")
}

func TestARevokedTokenAdmitsNobody(t *testing.T) {
	w := newWorld(t)
	token, other := w.token(2, ""), w.token(1, "")
	if got := w.must(&member.RevokeJoinToken{ID: token.ID()}).Token; got.ID != token.ID() {
		t.Errorf("%v was revoked", got.ID)
	}
	w.refused(admit(t, "n1", token, newKey(t), nil), interrex.ErrNotFound, "was revoked")
	w.must(admit(t, "n1", other, newKey(t), nil))
}

func TestWhatWasSignedIsVerified(t *testing.T) {
	w := newWorld(t)
	token := w.token(5, "")
	for name, change := range map[string]func(*member.Admit){
		"another session": func(c *member.Admit) { c.Session = strings.Repeat("x", 32) },
		"another request": func(c *member.Admit) { c.Request = strings.Repeat("x", 32) },
		"no signature":    func(c *member.Admit) { c.Signature = strings.Repeat("\x00", 64) },
	} {
		c := admit(t, "n1", token, newKey(t), nil)
		change(c)
		if _, err := w.do(c); interrex.KindOf(err) != interrex.ErrDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	another := admit(t, "n1", jointoken.New(jointoken.Pin{}), newKey(t), nil)
	another.Token = token.ID()
	w.refused(another, interrex.ErrDenied, "signature is not valid")
}

func TestATakenIDIsGivenOnlyToItsOwner(t *testing.T) {
	w := newWorld(t)
	token, key := w.token(9, ""), newKey(t)
	w.must(admit(t, "n1", token, key, nil))
	w.must(&member.See{ID: "n1", Incarnation: "disk"})
	stranger := newKey(t)
	w.refused(admit(t, "n1", token, stranger, nil), interrex.ErrConflict, "--for n1")
	w.refused(admit(t, "n1", token, stranger, stranger), interrex.ErrConflict, "with another key")
	w.refused(admit(t, "n1", w.token(1, "n2"), stranger, nil), interrex.ErrDenied, "only for agent n2")
	renewed := newKey(t)
	m := w.must(admit(t, "n1", token, renewed, key)).Member
	if m.Incarnation != "disk" {
		t.Errorf("a new key has changed the disk: %+v", m)
	}
	w.refused(admit(t, "n1", token, key, key), interrex.ErrConflict, "with another key") // the one before is no longer its
	w.must(admit(t, "n1", w.token(1, "n1"), stranger, nil))
	w.must(&member.See{ID: "n2", Incarnation: "disk"}) // a founder, whose key is not recorded
	w.must(&member.Add{ID: "n3", Address: "h:1"})      // and one with a certificate from elsewhere
	for _, id := range []string{"n2", "n3"} {
		w.refused(admit(t, id, token, stranger, nil), interrex.ErrConflict, "--for "+id)
	}
}

func TestAnAgentWithACertificateIsAdded(t *testing.T) {
	w := &world{T: t, table: member.New()} // also where the certificates come from elsewhere
	add := &member.Add{ID: "n4", Address: "10.0.0.4:7401"}
	m := w.must(add).Member
	if m.ClusterAddress != "10.0.0.4:7401" || m.Incarnation != "" || m.NonVoter || m.Added != testreplica.Wall(0) || w.events[0].Kind != interrex.MemberAdded {
		t.Errorf("it is %+v, with %+v", m, w.events)
	}
	if reply, idle := w.table.Idle(add); !idle || reply.(*member.Reply).Member.ID != "n4" {
		t.Error("to add it again changes something")
	}
	if _, idle := w.table.Idle(&member.Add{ID: "n5", Address: "10.0.0.4:7401"}); idle {
		t.Error("to add another changes nothing")
	}
	w.refused(&member.Add{ID: "n4", Address: "10.0.0.5:7401"}, interrex.ErrConflict, "at 10.0.0.4:7401")
	w.refused(&member.Add{ID: "n5", Address: "10.0.0.5"}, interrex.ErrInvalid, "address")
	w.refused(&member.Add{ID: "n5", Address: "0.0.0.0:7401"}, interrex.ErrInvalid, "address")
	w.must(&member.See{ID: "n4", Incarnation: "a", ClusterAddress: "10.0.0.9:7401"})
	if addresses := w.table.Addresses(); len(addresses) != 1 || addresses["n4"] != "10.0.0.9:7401" {
		t.Errorf("the addresses are %v", addresses)
	}
}

// An agent whose disk is lost takes the place of what it was, which is removed.
func TestALostDiskIsReplaced(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	w.must(admit(t, "n1", w.token(1, ""), key, nil))
	w.must(&member.See{ID: "n1", Incarnation: "a", ClusterAddress: "h:1"})
	w.must(&member.SetVoter{ID: "n1"})
	back := func(incarnation string, token jointoken.Token) *member.Admit {
		c := admit(t, "n1", token, newKey(t), nil)
		c.Incarnation = incarnation
		return c
	}
	w.refused(back("b", w.token(1, "")), interrex.ErrConflict, "--for n1")
	if w.table.Removed("n1", "a") {
		t.Error("a stranger has removed it")
	}
	same := back("a", w.token(1, "n1")) // it has its data, and needs a certificate
	if m := w.must(same).Member; m.Incarnation != "a" || same.Replaces(m) || w.table.WasRemoved("n1") {
		t.Errorf("it is %+v", m)
	}
	again := back("b", w.token(1, "n1"))
	if !again.Replaces(w.table.Member("n1")) {
		t.Error("another disk replaces nothing")
	}
	for range 2 { // its answer was lost
		if m := w.must(again).Member; m.Incarnation != "" || !m.NonVoter || m.Key != again.Key || !w.table.Removed("n1", "a") || w.table.Removed("n1", "b") {
			t.Errorf("it is %+v", m)
		}
	}
	w.refused(&member.See{ID: "n1", Incarnation: "a"}, interrex.ErrConflict, "was removed")
	w.must(&member.See{ID: "n1", Incarnation: "b"})
	if m := w.must(again).Member; m.Incarnation != "b" || w.table.Removed("n1", "b") { // joined once more
		t.Errorf("it is %+v", m)
	}
}

func TestAnAgentWithoutRaftGetsNoVote(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	c := admit(t, "f1", w.token(1, ""), key, nil)
	c.Forwards = true
	w.must(c)
	w.refused(&member.SetVoter{ID: "f1", Voter: true}, interrex.ErrConflict, "runs without raft")
	w.must(admit(t, "n1", w.token(1, ""), key, nil))
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	c = admit(t, "n1", w.token(1, ""), key, nil)
	c.Forwards = true
	w.refused(c, interrex.ErrConflict, "is a member with a log")
	again := admit(t, "f1", w.token(1, ""), key, nil) // it was never in raft's configuration
	if m := w.must(again).Member; m.Forwards || w.table.Present("f1") == nil {
		t.Errorf("it joined again, to have a log: %+v", m)
	}
}

func TestAFounderIsAMemberOnceItIsSeen(t *testing.T) {
	w := newWorld(t)
	see := &member.See{ID: "n1", Incarnation: "a", ClusterAddress: "h:1", APIAddress: "h:2", Version: "1", Tables: []member.TableVersion{{Name: "x", Version: 3}}}
	if !see.News(w.table) {
		t.Error("an unknown agent is no news")
	}
	w.must(see)
	if see.News(w.table) {
		t.Error("the same is news")
	}
	moved := *see
	moved.Was, moved.ClusterAddress = "a", "h:9"
	if !moved.News(w.table) {
		t.Error("another address is no news")
	}
	w.must(&moved)
	if m := w.table.Member("n1"); m.ClusterAddress != "h:9" || m.Incarnation != "a" || m.Tables[0].Version != 3 {
		t.Errorf("it is %+v", m)
	}
	w.refused(&member.See{ID: "n1", Incarnation: "b"}, interrex.ErrConflict, `has the disk "a"`)
	w.refused(&member.See{ID: "n2", Was: "a", Incarnation: "b"}, interrex.ErrNotFound, "n2")
	w.must(&member.See{ID: "n1", Was: "a", Incarnation: "b"})
}

func TestWhoIsRemovedIsPresentNoLonger(t *testing.T) {
	w := newWorld(t)
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	w.must(&member.See{ID: "n2", Incarnation: "b"})
	one, two := w.table.Present("n1"), w.table.Present("n2")
	if one == nil || two == nil || w.table.Present("n1") != one || w.table.Present("n3") != nil {
		t.Fatal("not exactly the members are present")
	}
	w.must(&member.Remove{ID: "n1"})
	if interrex.KindOf(context.Cause(one)) != interrex.ErrUnauthenticated || two.Err() != nil || w.table.Present("n1") != nil {
		t.Errorf("after the removal: %v, %v", context.Cause(one), two.Err())
	}
	w.must(&member.See{ID: "n1", Incarnation: "c"})
	if again := w.table.Present("n1"); again == nil || again.Err() != nil {
		t.Error("one that is a member again is not present")
	}
	var empty bytes.Buffer
	if err := member.New().Freeze().Write(&empty); err != nil {
		t.Fatal(err)
	}
	if err := w.table.Restore(w.table.Version(), &empty); err != nil || two.Err() == nil {
		t.Errorf("one that is not in a restored state is present: %v", err)
	}
}

func TestARemovedDiskStaysOut(t *testing.T) {
	w := newWorld(t)
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	w.refused(&member.Remove{ID: "n2"}, interrex.ErrNotFound, "n2")
	w.must(&member.Remove{ID: "n1"})
	if !w.table.Removed("n1", "a") || w.table.Removed("n1", "b") || w.table.Removed("n2", "a") || w.table.Member("n1") != nil {
		t.Error("not exactly that agent on that disk is out")
	}
	w.refused(&member.See{ID: "n1", Incarnation: "a"}, interrex.ErrConflict, "was removed")
	w.must(&member.See{ID: "n1", Incarnation: "b"})
	if e := w.events[1]; e.Kind != interrex.MemberRemoved || e.Key != "n1" {
		t.Errorf("the event is %+v", e)
	}
	w.must(admit(t, "n9", w.token(1, ""), newKey(t), nil))
	w.must(&member.Remove{ID: "n9"})
	if w.table.Removed("n9", "") {
		t.Error("an agent that was never seen has left a tombstone")
	}
}

func TestTheDisksThatAreForgottenAreTheOldest(t *testing.T) {
	w := newWorld(t)
	disk := func(i int) string { return fmt.Sprint("disk ", i) }
	const most = 1024
	for i := range most + 1 {
		w.must(&member.See{ID: "n1", Incarnation: disk(i)})
		w.must(&member.Remove{ID: "n1"})
	}
	if w.table.Removed("n1", disk(0)) || !w.table.Removed("n1", disk(1)) || !w.table.Removed("n1", disk(most)) {
		t.Errorf("of %d disks not exactly the first is forgotten", most+1)
	}
	other := member.New()
	if err := other.Restore(w.table.Version(), bytes.NewReader(snapshotOf(t, w))); err != nil {
		t.Error(err)
	}
}

func TestAVoteMayBeWithheld(t *testing.T) {
	w := newWorld(t)
	w.refused(&member.SetVoter{ID: "n1"}, interrex.ErrNotFound, "n1")
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	w.must(&member.SetVoter{ID: "n1", Voter: false})
	if m := w.table.Member("n1"); !m.NonVoter || m.Incarnation != "a" {
		t.Errorf("it is %+v", m)
	}
	w.must(&member.SetVoter{ID: "n1", Voter: true})
	if w.table.Member("n1").NonVoter {
		t.Error("it has no vote")
	}
}

func TestAClusterHasOneCA(t *testing.T) {
	b, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, table: member.New()}
	token := jointoken.New(jointoken.Pin{})
	create := &member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 1, TTL: time.Hour}
	w.refused(create, interrex.ErrDisabled, "come from elsewhere")
	agents := recertify(t, "n1", newKey(t), newKey(t), b).Former
	for _, cert := range []string{"x", agents} {
		w.refused(&member.SetCA{Cert: cert}, interrex.ErrInvalid, "not the certificate of a CA")
	}
	w.must(&member.SetCA{Cert: string(testCA())})
	w.must(&member.SetCA{Cert: string(testCA())})
	w.refused(&member.SetCA{Cert: string(b.Cert())}, interrex.ErrConflict, "ca rotate")
	if w.table.CA() != string(testCA()) {
		t.Error("it has another CA")
	}
	w.must(create)
}

func TestTheTableIsBounded(t *testing.T) {
	w := newWorld(t)
	for range member.MaxJoinTokens {
		w.token(1, "")
	}
	more := jointoken.New(jointoken.Pin{})
	w.refused(&member.CreateJoinToken{Key: string(more.PublicKey()), Uses: 1, TTL: time.Hour}, interrex.ErrConflict, "the limit")
	w.must(&member.RevokeJoinToken{ID: w.table.JoinTokens()[0].ID})
	token := w.token(limits.MaxJoinUses, "")
	w.refused(&member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 1, TTL: time.Hour}, interrex.ErrConflict, "exists already")
	for n := range member.MaxMembers {
		w.must(&member.See{ID: "n" + string(rune('a'+n%26)) + "-" + strings.Repeat("x", n/26) + "z", Incarnation: "a"})
	}
	w.refused(&member.See{ID: "one-more", Incarnation: "a"}, interrex.ErrConflict, "1000 members")
	w.refused(admit(t, "one-more", token, newKey(t), nil), interrex.ErrConflict, "1000 members")
	w.refused(&member.Add{ID: "one-more", Address: "h:1"}, interrex.ErrConflict, "1000 members")
	w.must(&member.See{ID: "na-z", Was: "a", Incarnation: "b"})
}

func TestFieldsThatAreNotValid(t *testing.T) {
	w := newWorld(t)
	token := jointoken.New(jointoken.Pin{})
	key := string(token.PublicKey())
	good := admit(t, "n1", token, newKey(t), nil)
	bad := func(change func(*member.Admit)) *member.Admit {
		c := *good
		change(&c)
		return &c
	}
	for says, c := range map[string]state.Command{
		"public_key":           &member.CreateJoinToken{Key: "x", Uses: 1, TTL: time.Hour},
		"uses: 0":              &member.CreateJoinToken{Key: key, TTL: time.Hour},
		"uses: 1001":           &member.CreateJoinToken{Key: key, Uses: 1001, TTL: time.Hour},
		"ttl: 0":               &member.CreateJoinToken{Key: key, Uses: 1},
		"ttl: 31 d":            &member.CreateJoinToken{Key: key, Uses: 1, TTL: 31 * 24 * time.Hour},
		`member: agent ID "N"`: &member.CreateJoinToken{Key: key, Uses: 1, TTL: time.Hour, For: "N"},
		`id: "" is not`:        &member.RevokeJoinToken{},
		`id: agent ID "a.b"`:   &member.Remove{ID: "a.b"},
		`id: agent ID "a-"`:    &member.SetVoter{ID: "a-"},
		"incarnation: it must": &member.See{ID: "n1"},
		"out of order":         &member.See{ID: "n1", Incarnation: "a", Tables: []member.TableVersion{{Name: "b"}, {Name: "a"}}},
		"token:":               bad(func(c *member.Admit) { c.Token = "" }),
		"session and request":  bad(func(c *member.Admit) { c.Session = "" }),
		"signature: 0":         bad(func(c *member.Admit) { c.Signature = "" }),
		"key: it is not":       bad(func(c *member.Admit) { c.Key = "x" }),
		`id: agent ID ""`:      bad(func(c *member.Admit) { c.ID = "" }),
	} {
		w.refused(c, interrex.ErrInvalid, says)
	}
	for says, c := range map[string]state.Command{
		"version: 101":         &member.See{ID: "n1", Incarnation: "a", Version: strings.Repeat("x", 101)},
		"cluster_address: 301": &member.See{ID: "n1", Incarnation: "a", ClusterAddress: strings.Repeat("x", 301)},
		"former: 300":          bad(func(c *member.Admit) { c.Former = strings.Repeat("x", 300) }),
		"key: 2000":            bad(func(c *member.Admit) { c.Key = strings.Repeat("x", 2000) }),
	} {
		w.refused(c, interrex.ErrTooLarge, says)
	}
}
