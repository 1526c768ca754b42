package member_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/golden"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
)

// publicKey is an ECDSA key in PKIX DER, the same in each run.
var publicKey = "0Y0\x13\x06\x07*\x86H\xce=\x02\x01\x06\x08*\x86H\xce=\x03\x01\x07\x03B\x00\x04" +
	"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96" +
	"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5"

var goldenToken = jointoken.Token{Pin: jointoken.Pin{1}, Seed: [32]byte{2}}

// goldenCommands are one of each, with every field set.
func goldenCommands() []state.Command {
	return []state.Command{
		&member.SetCA{Cert: string(testCA())},
		&member.CreateJoinToken{Key: string(goldenToken.PublicKey()), For: "n1", Uses: 3, TTL: time.Hour},
		&member.RevokeJoinToken{ID: goldenToken.ID()},
		&member.Admit{
			ID: "n1", Token: goldenToken.ID(), Key: publicKey, Session: strings.Repeat("s", 32), Request: strings.Repeat("r", 32),
			Signature: strings.Repeat("g", 64), Former: "former", Incarnation: "b",
		},
		&member.See{
			ID: "n1", Was: "a", Incarnation: "b", ClusterAddress: "h:1", APIAddress: "h:2", Version: "1.0",
			Tables:      []member.TableVersion{{Name: "leases", Version: 1}, {Name: "members", Version: 300}},
			Certificate: member.Certificate{Serial: "a1", Issuer: "sha256/pin", Ends: time.Unix(1700000000, 0).UTC()},
		},
		&member.SetVoter{ID: "n1", Voter: true},
		&member.Remove{ID: "n1"},
		&member.Recertify{ID: "n1", Key: publicKey, Former: string(testCA()), Signature: strings.Repeat("g", 70)},
		&member.Renew{ID: "n1"},
		&member.Add{ID: "n4", Address: "h:7401"},
		&member.RotateCA{Without: []string{"n1", "n2"}},
		&member.OfferCA{Step: member.Step{Phase: member.Asked, CA: strings.Repeat("p", 32)}, Cert: string(nextCA())},
		&member.AdvanceCA{Step: member.Step{Phase: member.Renewing, CA: strings.Repeat("p", 32)}},
	}
}

func TestEncodingOfCommandsStays(t *testing.T) {
	table := member.New()
	for _, c := range goldenCommands() {
		whole := c.Append(nil)
		golden.Check(t, c.About().Name, whole)
		back, err := table.Decode(whole)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%#v comes back as %#v, %v", c, back, err)
		}
		for n := range whole {
			if _, err := table.Decode(whole[:n]); interrex.KindOf(err) != interrex.ErrInvalid {
				t.Errorf("%d bytes of %s: %v", n, c.About().Name, err)
			}
		}
		if _, err := table.Decode(append(whole, 0)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("one byte more than %s: %v", c.About().Name, err)
		}
	}
}

func TestAnAgentWithoutRaftComesBackFromItsEncoding(t *testing.T) {
	w := newWorld(t)
	c := admit(t, "f1", w.token(1, ""), newKey(t), nil)
	c.Forwards = true
	back, err := w.table.Decode(c.Append(nil))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
	c.Forwards = false
	if _, err := w.table.Decode(append(c.Append(nil), 0)); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("two encodings of one command: %v", err)
	}
	c.Forwards = true
	w.must(c)
	var snapshot bytes.Buffer
	if err := w.table.Freeze().Write(&snapshot); err != nil {
		t.Fatal(err)
	}
	other := member.New()
	if err := other.Restore(w.table.Version(), &snapshot); err != nil || !reflect.DeepEqual(other.Members(), w.table.Members()) || !other.Member("f1").Forwards || other.Present("f1") != nil {
		t.Errorf("it is restored as %+v, %v", other.Member("f1"), err)
	}
}

// settled returns a table with members and a join token, and the replies to a removal and
// to the token.
func settled(t *testing.T) (w *world, gone, token *member.Reply) {
	w = newWorld(t)
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	w.must(goldenCommands()[4])
	w.must(&member.SetVoter{ID: "n1"})
	w.must(&member.Renew{ID: "n1"})
	w.must(&member.See{ID: "n2", Incarnation: "c"})
	gone = w.must(&member.Remove{ID: "n2"})
	return w, gone, w.must(goldenCommands()[1])
}

func snapshotOf(t *testing.T, w *world) []byte {
	t.Helper()
	var snapshot bytes.Buffer
	if err := w.table.Freeze().Write(&snapshot); err != nil {
		t.Fatal(err)
	}
	return snapshot.Bytes()
}

// restores returns the table that is restored from a snapshot, whose rotation must be the
// same.
func (w *world) restores() *member.Table {
	w.Helper()
	snapshot, other := snapshotOf(w.T, w), member.New()
	if err := other.Restore(w.table.Version(), bytes.NewReader(snapshot)); err != nil {
		w.Fatal(err)
	}
	if !reflect.DeepEqual(other.Rotation(), w.table.Rotation()) || !reflect.DeepEqual(other.Trusted(), w.table.Trusted()) || !bytes.Equal(snapshotOf(w.T, &world{table: other}), snapshot) {
		w.Errorf("the rotation is restored as %+v", other.Rotation())
	}
	return other
}

func TestEncodingOfSnapshotAndReplyStays(t *testing.T) {
	w, gone, token := settled(t)
	golden.Check(t, "reply", w.table.AppendReply(w.table.AppendReply(nil, gone), token))
	w.must(&member.RotateCA{Without: []string{"n1"}})
	w.offer(nextCA())
	w.restores() // with a CA that is to be
	w.advance()
	w.advance()
	w.advance()
	golden.Check(t, "snapshot", snapshotOf(t, w))
	other := w.restores()
	if token := other.JoinTokens()[0]; !other.Outdated(token) {
		t.Error("a token of the former CA is restored as one of the present CA")
	}
	if !reflect.DeepEqual(other.Members(), w.table.Members()) || !reflect.DeepEqual(other.JoinTokens(), w.table.JoinTokens()) || !other.Removed("n2", "c") {
		t.Errorf("it is restored as %v, %v", other.Members(), other.JoinTokens())
	}
}

// Version 1 had no rotations.
func TestASnapshotOfVersion1IsRestored(t *testing.T) {
	w, _, _ := settled(t)
	snapshot := snapshotOf(t, w)
	first := snapshot[:len(snapshot)-3] // since, gone, rotation: none
	golden.Check(t, "snapshot_v1", first)
	other := member.New()
	if err := other.Restore(1, bytes.NewReader(first)); err != nil {
		t.Fatal(err)
	}
	if other.CA() != w.table.CA() || other.Rotation() != nil || other.Outdated(other.JoinTokens()[0]) || !bytes.Equal(snapshotOf(t, &world{table: other}), snapshot) {
		t.Errorf("it is restored as %v, %v", other.Members(), other.JoinTokens())
	}
	if err := other.Restore(3, bytes.NewReader(snapshot)); err == nil {
		t.Error("a later version is read")
	}
	if err := other.Restore(0, bytes.NewReader(first)); err == nil {
		t.Error("an earlier version is read")
	}
}

func TestWhatNoTableWritesIsNotRead(t *testing.T) {
	w := newWorld(t)
	w.must(&member.See{ID: "n1", Incarnation: "a"})
	w.must(&member.See{ID: "n2", Incarnation: "b"})
	w.must(&member.RotateCA{})
	one := []byte(w.token(1, "").PublicKey())
	other := []byte(w.token(1, "").PublicKey())
	good := snapshotOf(t, w)
	swapped := bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(good, one, make([]byte, 32)), other, one), make([]byte, 32), other)
	phase := bytes.Clone(good)
	phase[len(phase)-4] = 0 // before the next CA, the former ones and those that are left out: none
	table := member.New()
	for name, c := range map[string]struct {
		version  uint16
		snapshot []byte
	}{
		"members out of order": {2, bytes.Replace(good, []byte("n1"), []byte("n3"), 1)},
		"a member twice":       {2, bytes.Replace(good, []byte("n1"), []byte("n2"), 1)},
		"tokens out of order":  {2, swapped},
		"a phase":              {2, phase},
		"a byte more":          {2, append(bytes.Clone(good), 0)},
		"a byte less":          {2, good[:len(good)-1]},
	} {
		if err := table.Restore(c.version, bytes.NewReader(c.snapshot)); err == nil || len(table.Members()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := table.Restore(2, bytes.NewReader(good)); err != nil {
		t.Error(err)
	}
	event := table.AppendEvent(nil, &member.Member{ID: "n1"})
	if _, err := table.DecodeEvent(event); err != nil {
		t.Error(err)
	}
	event[5] = 3 // behind the ID, the key and the disk
	if _, err := table.DecodeEvent(event); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("an unknown role: %v", err)
	}
}
