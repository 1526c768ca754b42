package machine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

func register() []state.Table { return []state.Table{testtable.NewRegister()} }

func set(key, text string) state.Operation {
	return state.Operation{Table: testtable.RegisterTable, Data: testtable.Set(key, text, 0)}
}

func del(key string) state.Operation {
	return state.Operation{Table: testtable.RegisterTable, Data: testtable.Delete(key)}
}

// wantKinds compares the kinds of the results' errors: "" is success.
func wantKinds(t *testing.T, results []state.Result, kinds ...interrex.Kind) {
	t.Helper()
	if len(results) != len(kinds) {
		t.Fatalf("%d results, want %d", len(results), len(kinds))
	}
	for i, r := range results {
		if got := interrex.KindOf(r.Err); got != kinds[i] || (r.Err == nil) != (kinds[i] == "") {
			t.Errorf("result %d: %v, want kind %q", i, r.Err, kinds[i])
		}
	}
}

func TestEveryChangeTakesTheNextRevisionAndARefusalTakesNone(t *testing.T) {
	r := testreplica.New(t, register)
	results := r.Do(1, set("a", "1"), del("none"), set("b", "2"), del("a"))
	wantKinds(t, results, "", interrex.ErrNotFound, "", "")
	for i, want := range []interrex.Revision{1, 1, 2, 3} {
		if results[i].Revision != want {
			t.Errorf("result %d: revision %d, want %d", i, results[i].Revision, want)
		}
	}
	if r.State.Revision() != 3 || r.Last != 3 || len(r.Events) != 3 {
		t.Errorf("revision %d, published %d with %d events", r.State.Revision(), r.Last, len(r.Events))
	}
	if e := r.Events[2]; e.Kind != testtable.RegisterDeleted || e.Revision != 3 || e.Now != 1 || e.Table != testtable.RegisterTable || !e.Wall.Equal(testreplica.Wall(1)) {
		t.Errorf("event: %+v", e)
	}
}

func TestTimeOnlyGrows(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(50)
	r.Do(20)
	if r.State.Now() != 50 {
		t.Errorf("now is %d", r.State.Now())
	}
}

func TestTimeMovesAndEndsWhatIsDueBeforeTheOperations(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(0, state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("a", "short", 10)})
	if due, found := r.State.Due(); !found || due != 10 {
		t.Fatalf("due at %d, %v", due, found)
	}
	wantKinds(t, r.Do(9, set("b", "")), "")
	wantKinds(t, r.Do(10, del("a")), interrex.ErrNotFound)
	if _, found := r.State.Due(); found {
		t.Error("still due")
	}
	if r.State.Revision() != 3 {
		t.Errorf("the ending took no revision of its own: %d", r.State.Revision())
	}
}

func TestAnEntryEndsAtMostAThousand(t *testing.T) {
	tables := func() []state.Table {
		return []state.Table{testtable.NewRegisterAs(300), testtable.NewRegisterAs(301)}
	}
	r := testreplica.New(t, tables)
	for i := range 15 {
		ops := make([]state.Operation, 100)
		for j := range ops {
			ops[j] = state.Operation{Table: state.TableID(300 + i%2), Data: testtable.Set(fmt.Sprint(i, "-", j), "", 5)}
		}
		r.Do(0, ops...)
	}
	for _, want := range []interrex.Revision{2500, 3000, 3000} {
		r.Do(5)
		if got := r.State.Revision(); got != want {
			t.Fatalf("revision %d, want %d", got, want)
		}
	}
}

func TestAnEntryThatWasAppliedIsIgnored(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, set("a", "1"))
	r.Do(2, set("a", "2"))
	again := (&machine.Entry{Operations: []state.Operation{set("a", "1")}}).Append(nil)
	for index := range uint64(3) {
		if got := r.State.Apply(&raft.Log{Type: raft.LogCommand, Index: index, Term: 1, Data: again}); got != nil {
			t.Errorf("%d is answered %v", index, got)
		}
	}
	if index, term := r.State.Applied(); index != 2 || term != 1 || r.State.Revision() != 2 {
		t.Errorf("applied %d term %d revision %d", index, term, r.State.Revision())
	}
}

func TestOnlyCommandsAreApplied(t *testing.T) {
	r := testreplica.New(t, register)
	b := (&machine.Entry{Operations: []state.Operation{set("a", "1")}}).Append(nil)
	for _, kind := range []raft.LogType{raft.LogNoop, raft.LogBarrier, raft.LogConfiguration} {
		if got := r.State.Apply(&raft.Log{Type: kind, Index: 1, Term: 1, Data: b}); got != nil {
			t.Errorf("%v is answered %v", kind, got)
		}
	}
	if index, _ := r.State.Applied(); index != 0 || r.State.Revision() != 0 {
		t.Errorf("applied %d, revision %d", index, r.State.Revision())
	}
}

// halting are entries that a replica must not pass, by what it says.
var halting = map[string][]byte{
	"unknown version": {9},
	"unknown table 77": (&machine.Entry{Operations: []state.Operation{
		set("a", "drift"), {Table: 77},
	}}).Append(nil),
	"unknown command": (&machine.Entry{Operations: []state.Operation{
		set("a", "drift"), {Table: machine.SystemTable, Data: []byte{1, 99}},
	}}).Append(nil),
}

func TestAReplicaHaltsRatherThanDrifts(t *testing.T) {
	for why, b := range halting {
		t.Run(why, func(t *testing.T) {
			table := testtable.NewRegister()
			r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
			r.Do(1, set("a", "kept"))
			for _, res := range r.ApplyBytes(b) {
				if interrex.KindOf(res.Err) != interrex.ErrOutcomeUnknown {
					t.Errorf("result: %v", res.Err)
				}
			}
			if err := r.State.Halted(); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "log index 2") {
				t.Fatalf("halted: %v", err)
			}
			wantKinds(t, r.Do(2, set("a", "later"), set("b", "later")), interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown)
			if v, _ := table.Get("a"); v.Text != "kept" || r.State.Revision() != 1 || r.Last != 1 {
				t.Errorf("it has gone on: %v, revision %d", v, r.State.Revision())
			}
			if index, _ := r.State.Applied(); index != 1 {
				t.Errorf("applied %d", index)
			}
			if _, err := r.State.Snapshot(); err == nil {
				t.Error("a snapshot is made, which raft would take to be of a later entry")
			}
		})
	}
}

// numbered is a register whose commands are numbered, as those of the tables of interrex
// itself: this build has 1 and 2.
type numbered struct{ *testtable.Register }

func (numbered) Knows(data []byte) bool { return len(data) > 0 && data[0] <= 2 }

// A command that only a later build of a table has is not refused, which would be to
// diverge: the agents of that build apply it.
func TestAReplicaHaltsAtACommandOfALaterTable(t *testing.T) {
	later := state.Operation{Table: testtable.RegisterTable, Data: []byte{3, 'a'}}
	for where, op := range map[string]state.Operation{
		"alone":      later,
		"in a group": {Group: []state.Part{{Table: later.Table, Data: later.Data}}},
	} {
		t.Run(where, func(t *testing.T) {
			r := testreplica.New(t, func() []state.Table { return []state.Table{numbered{testtable.NewRegister()}} })
			r.Do(1, set("a", "kept"))
			r.Do(2, set("a", "drift"), op)
			if err := r.State.Halted(); err == nil || !strings.Contains(err.Error(), `operation 1: unknown command of the table "register-256"`) || !strings.Contains(err.Error(), "run a build that can apply it") {
				t.Fatalf("halted: %v", err)
			}
			if r.State.Revision() != 1 {
				t.Errorf("a part of the entry was applied, up to revision %d", r.State.Revision())
			}
		})
	}
}

// critical counts what a state logs, and keeps the last.
type critical struct {
	silent.Logger
	n    int
	last string
}

func (c *critical) Criticalf(format string, args ...any) {
	c.n++
	c.last = fmt.Sprintf(format, args...)
}

// failing is a table whose Apply panics.
type failing struct{ *testtable.Register }

func (failing) Apply(*state.Turn, state.Command) state.Reply { panic("out of order") }

func TestAPanicOfATableHaltsAndIsLoggedOnce(t *testing.T) {
	log := &critical{}
	s, err := machine.New(machine.Config{Tables: []state.Table{failing{testtable.NewRegister()}}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	second := set("a", "")
	second.Attempt = 2
	b := (&machine.Entry{Operations: []state.Operation{second}}).Append(nil)
	for i := range uint64(3) {
		results := s.Apply(&raft.Log{Index: i + 1, Data: b}).([]state.Result)
		wantKinds(t, results, interrex.ErrOutcomeUnknown)
		if results[0].Attempt != 2 {
			t.Errorf("the answer is to attempt %d", results[0].Attempt)
		}
	}
	if got := s.Apply(&raft.Log{Index: 4, Data: []byte{9}}); got != nil {
		t.Errorf("what cannot be decoded is answered %v", got)
	}
	if err := s.Halted(); err == nil || !strings.Contains(err.Error(), "out of order") || interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("halted: %v", err)
	}
	if log.n != 1 || !strings.Contains(log.last, "out of order") || !strings.Contains(log.last, "goroutine") {
		t.Errorf("logged %d times, last: %s", log.n, log.last)
	}
	if text := s.Halted().Error(); strings.Contains(text, "goroutine") {
		t.Errorf("a caller is shown the stack: %s", text)
	}
}

// fencing is a register that is also what fences are checked with: a key is
// held under the revision of its value.
type fencing struct{ *testtable.Register }

func (f fencing) Holds(k interrex.Key, token interrex.Token) bool {
	c, err := f.Decode(testtable.Delete(k.Name))
	return err == nil && f.Check(0, c) == nil && token == 1
}

func TestAFencedWriteNeedsTheLease(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{fencing{testtable.NewRegister()}} })
	fenced := set("b", "")
	fenced.Fence = interrex.Fence{Key: interrex.Key{Namespace: "n", Name: "a"}, Token: 1}
	fenced.RequestID = "once"
	// In one entry: it is decided when the operation's turn comes.
	wantKinds(t, r.Do(1, fenced, set("a", ""), fenced, del("a"), fenced), interrex.ErrNotHeld, "", "", "", "")
	if again := r.Do(2, fenced)[0]; !again.Replayed || again.Err != nil {
		t.Errorf("the record is looked up after the fence: %+v", again)
	}
	fenced.RequestID = ""
	wantKinds(t, r.Do(3, fenced), interrex.ErrNotHeld)
}

func TestWithoutATableOfLeasesNothingIsHeld(t *testing.T) {
	r := testreplica.New(t, register)
	op := set("a", "")
	op.Fence = interrex.Fence{Key: interrex.Key{Namespace: "n", Name: "a"}, Token: 1}
	wantKinds(t, r.Do(1, op), interrex.ErrNotHeld)
}

// following deletes, in the same entry, what another register has lost.
type following struct{ *testtable.Register }

func (f following) Follow(t *state.Turn, events []state.Event) {
	for _, e := range events {
		if e.Table == f.ID() || e.Kind == testtable.RegisterSet {
			continue
		}
		if c, err := f.Decode(testtable.Delete(e.Key)); err == nil && f.Check(t.Now, c) == nil {
			t.Next()
			f.Apply(t, c)
		}
	}
}

func TestAFollowerChangesInTheSameEntry(t *testing.T) {
	r := testreplica.New(t, func() []state.Table {
		return []state.Table{following{testtable.NewRegisterAs(400)}, testtable.NewRegister()}
	})
	presence := state.Operation{Table: 400, Data: testtable.Set("a", "here", 0)}
	r.Do(0, state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("a", "", 5)}, presence)
	wantKinds(t, r.Do(5, state.Operation{Table: 400, Data: testtable.Delete("a")}), interrex.ErrNotFound)
	var got []string
	for _, e := range r.Events {
		got = append(got, fmt.Sprint(e.Revision, " ", e.Table, " ", e.Kind))
	}
	want := "[1 256 register.set 2 400 register.set 3 256 register.expired 4 400 register.deleted]"
	if fmt.Sprint(got) != want {
		t.Errorf("events %v, want %s", got, want)
	}
	// The operation's own revision is that of its change, not of what follows.
	results := r.Do(6, set("a", ""), presence, del("a"))
	if results[2].Revision != 7 || r.State.Revision() != 8 {
		t.Errorf("revision %d of the operation, %d of the state", results[2].Revision, r.State.Revision())
	}
}

// noting notes what it is given to follow, and writes behind it.
type noting struct {
	*testtable.Register
	given *[]string
}

func (n noting) Follow(t *state.Turn, events []state.Event) {
	for _, e := range events {
		*n.given = append(*n.given, fmt.Sprint(e.Table, " ", e.Kind))
	}
	t.Emit("noted", "", nil, 0)
	_ = append(events, state.Event{Kind: "overwritten"})
}

func TestAFollowerGetsEachEventOnceAndNoRoomBehind(t *testing.T) {
	var given []string
	r := testreplica.New(t, func() []state.Table {
		return []state.Table{noting{testtable.NewRegisterAs(400), &given}, testtable.NewRegisterAs(300), testtable.NewRegisterAs(301)}
	})
	for _, table := range []state.TableID{300, 301, 300, 301} {
		r.Do(0, state.Operation{Table: table, Data: testtable.Set("a", "", 5)})
	}
	given, r.Events = nil, nil
	r.Do(5)
	if got, want := fmt.Sprint(given), "[300 register.expired 301 register.expired]"; got != want {
		t.Errorf("it was given %s, want %s", got, want)
	}
	var kinds []string
	for _, e := range r.Events {
		kinds = append(kinds, e.Kind)
	}
	if got, want := fmt.Sprint(kinds), "[register.expired noted register.expired noted]"; got != want {
		t.Errorf("published %s, want %s", got, want)
	}
}

// doubling is a register whose changes take two revisions.
type doubling struct{ *testtable.Register }

func (d doubling) Apply(t *state.Turn, c state.Command) state.Reply {
	t.Next()
	return d.Register.Apply(t, c)
}

func TestTheLastRevisionOfAnOperationIsItsOwn(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{doubling{testtable.NewRegister()}} })
	for i, res := range r.Do(1, set("a", ""), set("b", "")) {
		if want := interrex.Revision(2 * (i + 1)); res.Err != nil || res.Revision != want {
			t.Errorf("%+v, want revision %d", res, want)
		}
	}
}

// watcher looks, when events are published, at what a reader could see.
type watcher struct {
	table *testtable.Register
	state *machine.State
	errs  []error
}

func (w *watcher) Reset(_, _ interrex.Revision) {}

func (w *watcher) Publish(_ []state.Event, last interrex.Revision) {
	if w.state.Revision() >= last {
		w.errs = append(w.errs, errors.New("the revision is shown before its events are published"))
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		w.table.Get("a") // waits for the lock
	}()
	select {
	case <-done:
		w.errs = append(w.errs, errors.New("the content can be read before its events are published"))
	case <-time.After(5 * time.Millisecond):
	}
}

func TestEventsArePublishedBeforeAnybodySeesTheirRevision(t *testing.T) {
	w := &watcher{table: testtable.NewRegister()}
	s, err := machine.New(machine.Config{Tables: []state.Table{w.table}, Publisher: w})
	if err != nil {
		t.Fatal(err)
	}
	w.state = s
	s.Apply(&raft.Log{Index: 1, Data: (&machine.Entry{Operations: []state.Operation{set("a", "1")}}).Append(nil)})
	if err := errors.Join(w.errs...); err != nil {
		t.Error(err)
	}
}

// keeper is a publisher that keeps what it is given.
type keeper struct{ given [][]state.Event }

func (k *keeper) Publish(events []state.Event, _ interrex.Revision) {
	k.given = append(k.given, events)
}
func (k *keeper) Reset(_, _ interrex.Revision) {}

func TestPublishedEventsAreThePublishersOwn(t *testing.T) {
	k := &keeper{}
	s, err := machine.New(machine.Config{Tables: register(), Publisher: k})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(9) {
		s.Apply(&raft.Log{Index: i + 1, Data: (&machine.Entry{Operations: []state.Operation{set("a", "")}}).Append(nil)})
	}
	for i, events := range k.given {
		if len(events) != 1 || events[0].Revision != interrex.Revision(i+1) {
			t.Errorf("entry %d: %+v", i, events)
		}
	}
}

func TestTablesAreToldApart(t *testing.T) {
	for want, tables := range map[string][]state.Table{
		"nil Table":    {nil},
		"ID 0":         {testtable.NewRegisterAs(0)},
		"ID 300 is in": {testtable.NewRegisterAs(300), testtable.NewRegisterAs(300)},
	} {
		if _, err := machine.New(machine.Config{Tables: tables}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
