package custody

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// agents are two agents of one cluster: n1, which leads and has the key, and n2.
type agents struct {
	*testing.T
	n1, n2 Keys
	ca     *authority.Authority
	leader string // as n2 knows
}

func newAgents(t *testing.T) *agents {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := &agents{T: t, ca: ca, leader: "n1"}
	a.n1 = Keys{Dir: t.TempDir(), Table: tableOf(t, ca), Leader: func() string { return "n1" }, Changed: func() {}, Mutex: new(sync.Mutex), Logger: silent.Logger{}}
	a.n2 = Keys{Dir: t.TempDir(), Table: tableOf(t, ca), Leader: func() string { return a.leader }, Changed: func() {}, Mutex: new(sync.Mutex), Logger: silent.Logger{}}
	if err := ca.Save(a.n1.Dir); err != nil {
		t.Fatal(err)
	}
	a.n1.Dial = serve(t, a.n2, "n1")
	return a
}

// tableOf returns the table of a cluster with a CA.
func tableOf(t *testing.T, ca *authority.Authority) *member.Table {
	t.Helper()
	table := member.New()
	apply(t, table, &member.SetCA{Cert: string(ca.Cert())})
	return table
}

func apply(t *testing.T, table *member.Table, c state.Command) {
	t.Helper()
	decoded, err := table.Decode(c.Append(nil))
	if err == nil {
		err = table.Check(0, decoded)
	}
	if err != nil {
		t.Fatal(err)
	}
	table.Apply(&state.Turn{Revision: 1, Wall: time.Unix(1, 0), Table: machine.MemberTable}, decoded)
}

// serve lets an agent call another one's door.
func serve(t *testing.T, k Keys, caller string) peercall.Dialer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	k.Serve(mux)
	w, err := listener.New(listener.Config{
		Listener: l, Handler: mux, Logger: silent.Logger{},
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return peercall.WithPeer(ctx, caller) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Kill()
		_ = w.Wait()
	})
	return func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}
}

func keyIn(t *testing.T, dir string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, authority.KeyName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return text
}

func TestTheLeaderHandsTheKeyToAnotherAgent(t *testing.T) {
	a := newAgents(t)
	if err := a.n1.Hand(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if mine, theirs := keyIn(t, a.n1.Dir), keyIn(t, a.n2.Dir); !bytes.Equal(mine, theirs) {
		t.Errorf("the key has %d bytes here and %d there", len(mine), len(theirs))
	}
	info, err := os.Stat(filepath.Join(a.n2.Dir, authority.KeyName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAKeyIsTakenOnlyFromTheLeaderAndOnlyIfItIsTheClusters(t *testing.T) {
	a := newAgents(t)
	a.leader = "n3"
	if err := a.n1.Hand(t.Context(), "n2"); !errors.Is(err, interrex.ErrDenied) || !strings.Contains(err.Error(), `"n3"`) {
		t.Errorf("from one that does not lead: %v", err)
	}
	a.leader = ""
	if err := a.n1.Hand(t.Context(), "n2"); !errors.Is(err, interrex.ErrDenied) {
		t.Errorf("while none leads: %v", err)
	}
	a.leader = "n1"
	other, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.n1.send(t.Context(), "n2", other); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("the key of another CA: %v", err)
	}
	a.n2.Table = member.New()
	a.n1.Dial = serve(t, a.n2, "n1")
	if err := a.n1.Hand(t.Context(), "n2"); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("a state that does not know the CA yet: %v", err)
	}
	if key := keyIn(t, a.n2.Dir); key != nil {
		t.Error("a refused key is on the disk")
	}
}

// The worker, the leader's call and a rotation change them at one time.
func TestKeysThatAreAddedAtOnceAllStay(t *testing.T) {
	a := newAgents(t)
	for range 5 {
		if err := a.ca.Save(a.n1.Dir); err != nil {
			t.Fatal(err)
		}
		var adding sync.WaitGroup
		for range 3 {
			next, err := authority.New(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			adding.Go(func() {
				if err := a.n1.Add(next); err != nil {
					t.Error(err)
				}
			})
		}
		adding.Wait()
		if pins, err := authority.Pins(a.n1.Dir); err != nil || len(pins) != 4 {
			t.Fatalf("there are the keys of %v (%v)", pins, err)
		}
	}
}

func TestAKeyThatIsAddedWhileAnotherIsDroppedStays(t *testing.T) {
	a := newAgents(t)
	spent, next := newAgents(t).ca, newAgents(t).ca
	apply(t, a.n1.Table, &member.RotateCA{})
	for _, ca := range []*authority.Authority{spent, next} {
		now, _ := a.n1.Table.Step()
		apply(t, a.n1.Table, &member.OfferCA{Step: now, Cert: string(ca.Cert())})
	}
	none := func(jointoken.Pin) bool { return false }
	for range 20 {
		if err := errors.Join(a.ca.SaveKey(a.n1.Dir), authority.AddKey(a.n1.Dir, spent, none, none)); err != nil {
			t.Fatal(err)
		}
		var changing sync.WaitGroup
		changing.Go(func() {
			if _, err := a.n1.drop(false); err != nil {
				t.Error(err)
			}
		})
		if err := a.n1.Add(next); err != nil {
			t.Error(err)
		}
		changing.Wait()
		if pins, err := authority.Pins(a.n1.Dir); err != nil || !slices.Equal(pins, []jointoken.Pin{a.ca.Pin(), next.Pin()}) {
			t.Fatalf("there are the keys of %v (%v)", pins, err)
		}
	}
}

// CAs that were made in vain leave keys behind, also before the cluster's.
func TestTheClustersKeyStaysHoweverManyOthersCome(t *testing.T) {
	a := newAgents(t)
	if err := newAgents(t).ca.SaveKey(a.n1.Dir); err != nil {
		t.Fatal(err)
	}
	for _, ca := range []*authority.Authority{a.ca, newAgents(t).ca, newAgents(t).ca, newAgents(t).ca, newAgents(t).ca} {
		if err := a.n1.Add(ca); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := authority.LoadOf(a.n1.Dir, a.ca.Cert()); err != nil {
		t.Error(err)
	}
}

// Others learn from an agent which keys it has.
func TestAKeyThatComesOrGoesIsAnnounced(t *testing.T) {
	a, changed := newAgents(t), 0
	a.n2.Changed = func() { changed++ }
	if err := a.n2.Add(a.ca); err != nil || changed != 1 {
		t.Errorf("it came: %d, %v", changed, err)
	}
	if dropped, err := a.n2.drop(false); dropped || err != nil || changed != 1 {
		t.Errorf("it is not spent: %d, %v", changed, err)
	}
	if dropped, err := a.n2.drop(true); !dropped || err != nil || changed != 2 {
		t.Errorf("it went: %d, %v", changed, err)
	}
}

func TestAKeyThatCannotBeStoredIsNotAcknowledged(t *testing.T) {
	a := newAgents(t)
	a.n2.Dir = filepath.Join(a.n2.Dir, "gone")
	a.n1.Dial = serve(t, a.n2, "n1")
	if err := a.n1.Hand(t.Context(), "n2"); !errors.Is(err, interrex.ErrUnavailable) || !strings.Contains(err.Error(), "n2") {
		t.Errorf("%v", err)
	}
}

func TestALeaderWithoutTheKeyCannotHandItOn(t *testing.T) {
	a := newAgents(t)
	if err := authority.DeleteKey(a.n1.Dir); err != nil {
		t.Fatal(err)
	}
	if err := a.n1.Hand(t.Context(), "n2"); err == nil || !strings.Contains(err.Error(), "is not on this agent") {
		t.Errorf("%v", err)
	}
	a.n1.Table = member.New()
	if err := a.n1.Hand(t.Context(), "n2"); err != nil {
		t.Errorf("with a CA from elsewhere: %v", err)
	}
}

// configuration is raft's, with n1 as a voter.
type configuration struct{ n2 raft.ServerSuffrage }

type answered struct {
	raft.ConfigurationFuture
	servers []raft.Server
}

func (answered) Error() error { return nil }
func (a answered) Configuration() raft.Configuration {
	return raft.Configuration{Servers: a.servers}
}

const absent raft.ServerSuffrage = -1

type ended struct{ answered }

func (ended) Error() error                               { return raft.ErrRaftShutdown }
func (ended) GetConfiguration() raft.ConfigurationFuture { return ended{} }

func (c configuration) GetConfiguration() raft.ConfigurationFuture {
	all := []raft.Server{{ID: "n1"}}
	if c.n2 != absent {
		all = append(all, raft.Server{ID: "n2", Suffrage: c.n2})
	}
	return answered{servers: all}
}

type unfounded struct{}

func (unfounded) GetConfiguration() raft.ConfigurationFuture { return answered{} }

func (a *agents) watch(k Keys, id string, r Raft) *Worker {
	return &Worker{config: Config{Keys: k, ID: id, Incarnation: "disk", Raft: r, Clock: clock.WallClock, Lacking: func(string, jointoken.Pin) bool { return true }}}
}

func (a *agents) look(w *Worker) {
	a.Helper()
	if err := w.look(a.Context()); err != nil {
		a.Fatal(err)
	}
}

// age makes the key in a directory one that was given long ago.
func (a *agents) age(dir string) {
	a.Helper()
	at := time.Now().Add(-2 * Grace)
	if err := os.Chtimes(filepath.Join(dir, authority.KeyName), at, at); err != nil {
		a.Fatal(err)
	}
}

func TestAnAgentWithoutAVoteDeletesTheKey(t *testing.T) {
	for name, test := range map[string]struct {
		raft    Raft
		removed bool
		keeps   bool
	}{
		"a voter":                     {configuration{raft.Voter}, false, true},
		"demoted":                     {configuration{raft.Nonvoter}, false, false},
		"out of raft's configuration": {configuration{absent}, false, false},
		"removed, with a vote still":  {configuration{raft.Voter}, true, false},
		"about to found a cluster":    {unfounded{}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgents(t)
			if err := a.n1.Hand(t.Context(), "n2"); err != nil {
				t.Fatal(err)
			}
			if test.removed {
				apply(t, a.n2.Table, &member.See{ID: "n2", Incarnation: "disk", Version: "1"})
				apply(t, a.n2.Table, &member.Remove{ID: "n2"})
			}
			w := a.watch(a.n2, "n2", test.raft)
			a.look(w)
			if keyIn(t, a.n2.Dir) == nil {
				t.Fatal("it is deleted before a promotion could follow")
			}
			a.age(a.n2.Dir)
			a.look(w)
			if keeps := keyIn(t, a.n2.Dir) != nil; keeps != test.keeps {
				t.Errorf("keeps the key: %v", keeps)
			}
		})
	}
}

func TestAKeyFromALaterTimeIsDeletedToo(t *testing.T) {
	a := newAgents(t)
	if err := a.n1.Hand(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(24 * time.Hour) // the clock was wrong, and is set right
	if err := os.Chtimes(filepath.Join(a.n2.Dir, authority.KeyName), later, later); err != nil {
		t.Fatal(err)
	}
	a.look(a.watch(a.n2, "n2", configuration{raft.Nonvoter}))
	if keyIn(t, a.n2.Dir) != nil {
		t.Error("an agent without a vote keeps the key for a day")
	}
}

// An operator's CA is not the cluster's, and what raft does not say is not known.
func TestAKeyIsDeletedOnlyWhereThatIsCertain(t *testing.T) {
	for name, change := range map[string]func(w *Worker){
		"a CA from elsewhere": func(w *Worker) { w.config.Table = member.New() },
		"raft has ended":      func(w *Worker) { w.config.Raft = ended{} },
		"it leads":            func(w *Worker) { w.config.Leader = func() string { return "n2" } },
	} {
		a := newAgents(t)
		if err := a.n1.Hand(t.Context(), "n2"); err != nil {
			t.Fatal(err)
		}
		a.age(a.n2.Dir)
		a.n2.Dial = a.n1.Dial
		w := a.watch(a.n2, "n2", configuration{raft.Nonvoter})
		w.config.Lacking = func(string, jointoken.Pin) bool { return false }
		change(w)
		if err := w.look(t.Context()); (err != nil) != (name == "raft has ended") {
			t.Errorf("%s: %v", name, err)
		}
		if keyIn(t, a.n2.Dir) == nil {
			t.Errorf("%s: the key is deleted", name)
		}
	}
}

func TestTheLeaderGivesTheKeyToVotersThatLackIt(t *testing.T) {
	a := newAgents(t)
	has := a.watch(a.n1, "n1", configuration{raft.Voter})
	has.config.Lacking = func(string, jointoken.Pin) bool { return false }
	a.look(has)
	if keyIn(t, a.n2.Dir) != nil {
		t.Fatal("an agent that says that it has the key got it")
	}
	a.look(a.watch(a.n1, "n1", configuration{raft.Nonvoter}))
	if keyIn(t, a.n2.Dir) != nil {
		t.Fatal("an agent without a vote got the key")
	}
	a.look(a.watch(a.n1, "n1", configuration{raft.Voter}))
	if keyIn(t, a.n2.Dir) == nil {
		t.Error("a voter that lacks the key did not get it")
	}
}

// While the CA is rotated the voters get both keys, and then drop the former one.
func TestVotersGetTheNextCAsKeyToo(t *testing.T) {
	a := newAgents(t)
	next, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	step := func(make func(member.Step) state.Command) {
		for _, k := range []Keys{a.n1, a.n2} {
			now, _ := k.Table.Step()
			apply(t, k.Table, make(now))
		}
	}
	advance := func(now member.Step) state.Command { return &member.AdvanceCA{Step: now} }
	step(func(member.Step) state.Command { return &member.RotateCA{} })
	step(func(now member.Step) state.Command { return &member.OfferCA{Step: now, Cert: string(next.Cert())} })
	if err := a.n1.Add(next); err != nil {
		t.Fatal(err)
	}
	lacking := a.watch(a.n1, "n1", configuration{raft.Voter})
	lacking.config.Lacking = func(id string, pin jointoken.Pin) bool {
		pins, err := authority.Pins(a.n2.Dir)
		return err == nil && !slices.Contains(pins, pin)
	}
	a.look(lacking)
	if pins, err := authority.Pins(a.n2.Dir); err != nil || !slices.Equal(pins, []jointoken.Pin{a.ca.Pin(), next.Pin()}) {
		t.Errorf("n2 has the keys of %v (%v)", pins, err)
	}
	if err := errors.Join(authority.DeleteKey(a.n2.Dir), next.SaveKey(a.n1.Dir)); err != nil { // the present CA's is lost
		t.Fatal(err)
	}
	a.look(lacking)
	if pins, err := authority.Pins(a.n2.Dir); err != nil || !slices.Equal(pins, []jointoken.Pin{next.Pin()}) {
		t.Errorf("without the present CA's key, n2 has the keys of %v (%v)", pins, err)
	}
	if err := errors.Join(a.ca.SaveKey(a.n1.Dir), a.n1.Add(next), a.ca.SaveKey(a.n2.Dir), a.n2.Add(next)); err != nil {
		t.Fatal(err)
	}
	step(advance)
	step(advance)
	a.look(lacking)
	a.look(a.watch(a.n2, "n2", configuration{raft.Voter}))
	for _, k := range []Keys{a.n1, a.n2} {
		if pins, err := authority.Pins(k.Dir); err != nil || !slices.Equal(pins, []jointoken.Pin{next.Pin()}) {
			t.Errorf("once the next CA is the cluster's, there are the keys of %v (%v)", pins, err)
		}
	}
}

func TestAKeyThatIsTakenAwayByHandIsAnnounced(t *testing.T) {
	a, changed := newAgents(t), 0
	a.n1.Changed = func() { changed++ }
	w := a.watch(a.n1, "n1", configuration{absent})
	a.look(w)
	a.look(w)
	before := changed
	if err := authority.DeleteKey(a.n1.Dir); err != nil {
		t.Fatal(err)
	}
	a.look(w)
	a.look(w)
	if changed != before+1 {
		t.Errorf("it is announced %d times", changed-before)
	}
}
