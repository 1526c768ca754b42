package fsm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

// notebook keeps what it was told, answers with it and with the revision, and can
// be made to do wrong.
type notebook struct {
	Notes []string
	odd   string // is put into answers
	bad   error  // of Snapshot
	huge  bool   // is Snapshot
	last  []byte // what was answered last, which is used again
	got   interrex.FSMCommand
}

func (n *notebook) Apply(c interrex.FSMCommand) ([]byte, error) {
	n.got = c
	text := string(c.Data)
	defer clear(c.Data) // it is the machine's own
	switch {
	case text == "panic":
		panic("told to")
	case text == "large":
		return make([]byte, fsm.MaxResult+1), nil
	case text == "big":
		return make([]byte, 64<<10), nil
	case text == "gone":
		return nil, interrex.Errorf(interrex.ErrNotFound, "it is gone")
	case text == "empty-handed":
		return nil, (*mute)(nil)
	case text == "nothing":
		return nil, (*interrex.Error)(nil) // an easy slip
	case text == "unsure":
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "who knows")
	case text == "long":
		return nil, errors.New(strings.Repeat("\xffä", fsm.MaxError))
	case text == "later":
		return nil, interrex.Errorf(interrex.ErrOverloaded, "ask later")
	case strings.HasPrefix(text, "no"):
		return nil, errors.New(text)
	}
	n.Notes = append(n.Notes, text)
	n.last = fmt.Appendf(n.last[:0], "%d %s%s", len(n.Notes), text, n.odd)
	return n.last, nil
}

// mute is an error that cannot say what it is when it is nil.
type mute struct{ text string }

func (m *mute) Error() string { return m.text }

func (n *notebook) Snapshot() ([]byte, error) {
	if n.huge {
		return make([]byte, fsm.MaxSnapshot+1), nil
	}
	if n.bad != nil && n.bad.Error() == "panic" {
		panic("told to")
	}
	if n.bad != nil {
		return nil, n.bad
	}
	return json.Marshal(n)
}

func (n *notebook) Restore(b []byte) error {
	var fresh notebook
	if err := json.Unmarshal(b, &fresh); err != nil {
		return err
	}
	n.Notes = fresh.Notes
	return nil
}

func table(m interrex.FSM) *fsm.Table {
	t, err := fsm.New(fsm.Config{Machine: m})
	if err != nil {
		panic(err)
	}
	return t
}

func TestTableConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New:   func() state.Table { return table(&notebook{}) },
		Alone: true,
		Command: func(r *rand.Rand, _ []state.Reply) []byte {
			return []byte([]string{"a", "b", "no", "gone", ""}[r.IntN(5)])
		},
	})
}

// replica is a state with one machine.
type replica struct {
	*testreplica.Replica
	machine *notebook
	table   *fsm.Table
}

func newReplica(t *testing.T) *replica {
	r := &replica{}
	r.Replica = testreplica.New(t, func() []state.Table {
		r.machine = &notebook{}
		r.table = table(r.machine)
		return []state.Table{r.table, testtable.NewRegister()}
	})
	return r
}

// op makes an operation as the leader's door does.
func (r *replica) op(t *testing.T, text, id string) state.Operation {
	t.Helper()
	c, err := r.table.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	minted, err := c.(state.Minter).Mint(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(minted) > limits.MaxMinted {
		t.Fatalf("%d bytes are minted", len(minted))
	}
	return state.Operation{Table: machine.FSMTable, Data: []byte(text), RequestID: id, Minted: minted}
}

func answer(r state.Result) string {
	result, refused, missing := r.Reply.(*fsm.Reply).Answer()
	switch {
	case missing != nil:
		return missing.Error()
	case refused != nil:
		return refused.Error()
	}
	return string(result)
}

func TestEveryAnswerTakesOneRevisionAndHasOneEvent(t *testing.T) {
	r := newReplica(t)
	for i, c := range []struct{ text, want string }{
		{"a", "1 a"}, {"no way", "conflict: no way"}, {"gone", "not found: it is gone"}, {"later", "conflict: overloaded: ask later"}, {"nothing", ""},
		{"unsure", "conflict: outcome unknown: who knows"}, {"large", "too large: result: the state machine gave"}, {"b", "2 b"}, {"panic", "outcome unknown: the command is in the log at revision 9"},
		{"c", "outcome unknown: the command is in the log at revision 10"},
	} {
		op := state.Operation{Table: machine.FSMTable, Data: []byte(c.text)}
		res := r.Do(state.Time(i), op)[0]
		if got := answer(res); !strings.HasPrefix(got, c.want) || res.Err != nil || res.Revision != interrex.Revision(i+1) {
			t.Errorf("%s is answered %q (%v) at %d, want %q at %d", c.text, got, res.Err, res.Revision, c.want, i+1)
		}
		if e := r.Events[len(r.Events)-1]; len(r.Events) != i+1 || e.Kind != fsm.Applied || e.Revision != res.Revision || string(e.Value.(interrex.FSMEvent).Data) != c.text {
			t.Errorf("after %s: %d events, the last %+v", c.text, len(r.Events), e)
		}
	}
	if r.State.Halted() != nil {
		t.Errorf("the state is halted: %v", r.State.Halted())
	}
	if stop := r.table.Stopped(); stop == nil || !strings.Contains(stop.Reason, "panicked applying the command at revision 9: told to") {
		t.Errorf("stopped: %+v", stop)
	}
}

func TestAnErrorThatPanicsStopsTheMachineAlone(t *testing.T) {
	r := newReplica(t)
	res := r.Do(1, state.Operation{Table: machine.FSMTable, Data: []byte("empty-handed")})[0]
	if got := answer(res); res.Err != nil || !strings.HasPrefix(got, "outcome unknown: ") {
		t.Errorf("it is answered %q, %v", got, res.Err)
	}
	if err := r.State.Halted(); err != nil || r.table.Stopped() == nil {
		t.Errorf("halted: %v, the machine stopped: %+v", err, r.table.Stopped())
	}
}

// watched looks at its own table while it does a command, a second after it was
// called and at once.
type watched struct {
	notebook
	table *fsm.Table
	clock *testclock.Clock
	busy  []time.Duration
}

func (w *watched) Apply(interrex.FSMCommand) ([]byte, error) {
	w.busy = append(w.busy, w.table.Busy())
	w.clock.Advance(time.Second)
	w.busy = append(w.busy, w.table.Busy())
	return nil, nil
}

func TestAMachineIsBusyFromTheFirstMomentOfACallToItsEnd(t *testing.T) {
	w := &watched{clock: testclock.NewClock(time.Unix(1, 0))}
	var err error
	if w.table, err = fsm.New(fsm.Config{Machine: w, Clock: w.clock}); err != nil {
		t.Fatal(err)
	}
	r := testreplica.New(t, func() []state.Table { return []state.Table{w.table} })
	r.Do(1, state.Operation{Table: machine.FSMTable, Data: []byte("x")})
	if want := []time.Duration{1, time.Second}; !slices.Equal(w.busy, want) || w.table.Busy() != 0 {
		t.Errorf("it was busy for %v, then for %s", w.busy, w.table.Busy())
	}
}

func TestARequestIDGetsItsAnswerAgain(t *testing.T) {
	r := newReplica(t)
	for i, c := range []struct{ text, want string }{{"a", "1 a"}, {"no", "conflict: no"}} {
		op := r.op(t, c.text, fmt.Sprint("id", i))
		first := r.Do(1, op)[0]
		op.Attempt++
		for restart := range 2 {
			again := r.Do(2, op)[0]
			if got := answer(again); got != c.want || !again.Replayed || again.Revision != first.Revision {
				t.Errorf("%s again, after %d restarts: %q, %+v", c.text, restart, got, again)
			}
			r.Restart()
		}
	}
}

func TestACommandSaysWhenItIs(t *testing.T) {
	r := newReplica(t)
	at := state.Time(90 * time.Minute)
	r.Do(at, r.op(t, "a", ""))
	if got := r.machine.got; got.Time != 90*time.Minute || !got.Wall.Equal(testreplica.Wall(at)) || got.Revision != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAnAnswerIsTheTablesOwn(t *testing.T) {
	r := newReplica(t)
	op := r.op(t, "a", "id")
	r.Do(1, op)
	r.Do(1, r.op(t, "b", "")) // overwrites the bytes that the machine gave
	if got := answer(r.Do(1, op)[0]); got != "1 a" {
		t.Errorf("it is answered %q", got)
	}
}

func TestTheTextOfARefusalIsShortAndUTF8(t *testing.T) {
	r := newReplica(t)
	_, refused, _ := r.Do(1, r.op(t, "long", ""))[0].Reply.(*fsm.Reply).Answer()
	if n := len(refused.Message); n > fsm.MaxError || n < fsm.MaxError-3 || !utf8.ValidString(refused.Message) {
		t.Errorf("%d bytes: %.20q", n, refused.Message)
	}
}

func TestAnswersAreKeptUpToSoManyBytes(t *testing.T) {
	r := newReplica(t)
	first := r.op(t, "a", "first")
	r.Do(1, first)
	ops := make([]state.Operation, fsm.MaxAnswerBytes/(64<<10)/4-1)
	for i := range ops {
		ops[i] = r.op(t, "big", "")
	}
	for i := range 4 {
		if got := answer(r.Do(1, first)[0]); got != "1 a" {
			t.Fatalf("after %d: %q", i*len(ops), got)
		}
		r.Do(1, ops...)
		r.Restart() // what was restored counts too
	}
	r.Do(1, ops[:8]...)
	if got := answer(r.Do(1, first)[0]); !strings.Contains(got, "no longer kept") {
		t.Errorf("the oldest: %q", got)
	}
}

func TestTheOldestAnswersGo(t *testing.T) {
	r := newReplica(t)
	first, last := r.op(t, "a", "first"), r.op(t, "b", "last")
	r.Do(1, first)
	ops := make([]state.Operation, fsm.MaxAnswers/4)
	for i := range ops {
		ops[i] = r.op(t, "no", "")
	}
	for range 4 {
		r.Do(1, ops...)
	}
	r.Do(1, last)
	if got := answer(r.Do(1, first)[0]); !strings.Contains(got, "executed at revision 1, but the state machine's answer is no longer kept") {
		t.Errorf("the oldest: %q", got)
	}
	if got := answer(r.Do(1, last)[0]); got != "2 b" {
		t.Errorf("the newest: %q", got)
	}
}

func TestOneThatDisagreesIsStopped(t *testing.T) {
	leader, odd, even := newReplica(t), newReplica(t), newReplica(t)
	odd.machine.odd = "!"
	do := func(text, id string) (results []state.Result) {
		op := leader.op(t, text, id)
		for _, r := range []*replica{leader, odd, even} {
			results = append(results, r.Do(1, op)[0])
		}
		return results
	}
	do("a", "")
	if odd.table.Stopped() != nil {
		t.Fatal("stopped too early")
	}
	results := do("b", "id")
	if stop := odd.table.Stopped(); stop == nil || !strings.Contains(stop.Reason, "disagrees: its answers up to revision 1 differ") {
		t.Errorf("stopped: %+v", stop)
	}
	if leader.table.Stopped() != nil || even.table.Stopped() != nil {
		t.Error("another one is stopped")
	}
	if got := answer(results[1]); !strings.Contains(got, "outcome unknown") || results[1].Revision != results[0].Revision {
		t.Errorf("there it is answered %q at %d", got, results[1].Revision)
	}
	// The state's own bytes, and the others', are the same.
	register := state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("k", "v", 0)}
	for _, r := range []*replica{leader, odd, even} {
		if res := r.Do(2, register)[0]; res.Err != nil || res.Revision != 3 {
			t.Errorf("another table: %+v", res)
		}
	}
	if !bytes.Equal(leader.Snapshot(), even.Snapshot()) {
		t.Error("those that agree have different snapshots")
	}
	if _, err := written(odd); err == nil || !strings.Contains(err.Error(), "stopped on this agent") {
		t.Errorf("a snapshot where it is stopped: %v", err)
	}
	// A snapshot of one that goes on heals it.
	odd.machine.odd = ""
	if err := odd.Restore(raise(t, leader)); err != nil {
		t.Fatal(err)
	}
	if odd.table.Stopped() != nil || len(odd.machine.Notes) != 2 {
		t.Errorf("after a snapshot: %+v, %q", odd.table.Stopped(), odd.machine.Notes)
	}
}

// Once the answers of two machines have differed they are never taken for equal
// again: not even where both have answered alike since.
func TestOneThatDisagreedWhileNobodyLookedIsStopped(t *testing.T) {
	leader, odd := newReplica(t), newReplica(t)
	first, second := leader.op(t, "a", ""), leader.op(t, "b", "")
	leader.Do(1, first, second)
	odd.machine.odd = "!"
	odd.Do(1, first)
	odd.machine.odd = ""
	odd.Do(1, second)
	odd.Do(1, leader.op(t, "c", ""))
	if stop := odd.table.Stopped(); stop == nil || !strings.Contains(stop.Reason, "up to revision 2 differ") {
		t.Errorf("stopped: %+v", stop)
	}
}

// raise returns a snapshot that is newer than every other replica.
func raise(t *testing.T, r *replica) []byte {
	r.Do(3)
	return r.Snapshot()
}

// written writes a snapshot.
func written(r *replica) (*testtable.Sink, error) {
	f, err := r.State.Snapshot()
	if err != nil {
		return nil, err
	}
	defer f.Release()
	sink := &testtable.Sink{}
	return sink, f.Persist(sink)
}

func TestASnapshotThatFailsIsNone(t *testing.T) {
	r := newReplica(t)
	r.Do(1, r.op(t, "a", ""))
	r.machine.bad = errors.New("no room")
	sink, err := written(r)
	if err == nil || !strings.Contains(err.Error(), "the state machine's snapshot: no room") || !sink.Cancelled {
		t.Errorf("%v, cancelled: %v", err, sink.Cancelled)
	}
	if f := r.table.SnapshotFailed(); f == nil || time.Since(f.Since) > time.Minute {
		t.Errorf("what is kept of it: %+v", f)
	}
	since := r.table.SnapshotFailed().Since
	r.machine.bad = errors.New("panic")
	if _, err := written(r); err == nil || !strings.Contains(err.Error(), "the state machine's snapshot panicked: told to") || r.table.Stopped() != nil {
		t.Errorf("one that panics: %v, stopped: %+v", err, r.table.Stopped())
	}
	r.machine.huge = true
	if _, err := written(r); err == nil || !strings.Contains(err.Error(), "at most 268435456 are allowed") {
		t.Errorf("one that is too large: %v", err)
	}
	if f := r.table.SnapshotFailed(); f == nil || f.Since != since {
		t.Errorf("snapshots have failed since %v, and not %+v", since, f)
	}
	r.machine.bad, r.machine.huge = nil, false
	if _, err := written(r); err != nil || r.table.SnapshotFailed() != nil {
		t.Errorf("then: %v, %+v", err, r.table.SnapshotFailed())
	}
}

func TestAMachineThatCannotRestoreIsStoppedAndTheRestGoesOn(t *testing.T) {
	r := newReplica(t)
	r.Do(1, r.op(t, "a", "id"))
	whole := r.Snapshot()
	other := testreplica.New(t, func() []state.Table {
		return []state.Table{table(picky{&notebook{}}), testtable.NewRegister()}
	})
	if err := other.Restore(whole); err != nil || other.State.Halted() != nil {
		t.Fatal(err, other.State.Halted())
	}
	other.Do(1) // at the log index of the snapshot: it is done already
	res := other.Do(2, state.Operation{Table: machine.FSMTable, Data: []byte("b")})[0]
	if got := answer(res); !strings.Contains(got, "cannot restore its snapshot at revision 1: not mine") || res.Revision != 2 {
		t.Errorf("%q at %d", got, res.Revision)
	}
}

// picky restores nothing.
type picky struct{ *notebook }

func (picky) Restore([]byte) error { return errors.New("not mine") }

// shaky panics where it should restore.
type shaky struct{ *notebook }

func (shaky) Restore([]byte) error { panic("not mine") }

func TestAMachineThatPanicsAtARestoreIsStopped(t *testing.T) {
	r := newReplica(t)
	r.Do(1, r.op(t, "a", "id"))
	tab := table(shaky{&notebook{}})
	other := testreplica.New(t, func() []state.Table { return []state.Table{tab, testtable.NewRegister()} })
	if err := other.Restore(r.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if stop := tab.Stopped(); stop == nil || !strings.Contains(stop.Reason, "panicked restoring a snapshot: not mine") {
		t.Errorf("stopped: %+v", stop)
	}
}

func TestASnapshotWhoseAnswersAreOutOfOrderIsRefused(t *testing.T) {
	snapshot := func(mark byte, answers ...byte) []byte {
		b := append([]byte{mark}, make([]byte, 32)...)
		b = append(b, byte(len(answers)))
		for _, revision := range answers {
			b = append(b, revision, 0, 0, 0) // no kind, no text, no result
		}
		return append(b, 2, '{', '}')
	}
	tab := table(&notebook{})
	if err := tab.Restore(1, bytes.NewReader(snapshot(3, 1, 3))); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"newer than the mark": snapshot(3, 1, 4), "twice": snapshot(3, 2, 2), "older": snapshot(3, 2, 1), "longer": append(snapshot(3, 1), 0),
	} {
		if err := tab.Restore(1, bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), "malformed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALeaderWhoseMachineIsStoppedTakesNoCommand(t *testing.T) {
	r := newReplica(t)
	r.Do(1, r.op(t, "panic", ""))
	c, _ := r.table.Decode([]byte("a"))
	if _, err := c.(state.Minter).Mint(nil); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("it mints: %v", err)
	}
}

func TestACommandIsInNoGroup(t *testing.T) {
	r := newReplica(t)
	res := r.Do(1, state.Operation{Group: []state.Part{
		{Table: testtable.RegisterTable, Data: testtable.Set("k", "v", 0)}, {Table: machine.FSMTable, Data: []byte("a")},
	}})[0]
	if !errors.Is(res.Err, interrex.ErrInvalid) || len(r.Events) != 0 || len(r.machine.Notes) != 0 {
		t.Errorf("%+v, %d events", res, len(r.Events))
	}
}

func TestLimitsAreChecked(t *testing.T) {
	if _, err := fsm.New(fsm.Config{}); err == nil || !strings.Contains(err.Error(), "nil Machine") {
		t.Error(err)
	}
	tab := table(&notebook{})
	if _, err := tab.Decode(make([]byte, fsm.MaxData)); err != nil {
		t.Error(err)
	}
	if _, err := tab.Decode(make([]byte, fsm.MaxData+1)); !errors.Is(err, interrex.ErrTooLarge) {
		t.Error(err)
	}
	op := state.Operation{Table: machine.FSMTable, Data: make([]byte, fsm.MaxData), Minted: make([]byte, limits.MaxMinted),
		Caller: strings.Repeat("c", 256), RequestID: strings.Repeat("r", limits.MaxRequestID)}
	if err := op.Validate(); err != nil {
		t.Errorf("with all that goes with it: %v", err)
	}
}

func TestARestoredMachineBeginsAnew(t *testing.T) {
	r := newReplica(t)
	r.Do(1, r.op(t, "a", "early"))
	file := r.Snapshot()
	late := r.op(t, "b", "late")
	r.Do(1, late)
	minted := r.op(t, "c", "") // before the restore, applied after it
	op := func(c state.Command) state.Operation {
		return state.Operation{Table: machine.SystemTable, Data: c.Append(nil)}
	}
	results := r.Do(1, op(&machine.Stage{File: 7, Data: file, Reads: r.State.Reads()}),
		op(&machine.Restore{File: 7, Bytes: int64(len(file)), Checksum: crc32.Checksum(file, crc32.MakeTable(crc32.Castagnoli))}))
	if results[0].Err != nil || results[1].Err != nil {
		t.Fatal(results[0].Err, results[1].Err)
	}
	for _, again := range []state.Operation{r.op(t, "a", "early"), late} {
		if got := answer(r.Do(1, again)[0]); !strings.Contains(got, "no longer kept") {
			t.Errorf("%s again: %q", again.RequestID, got)
		}
	}
	if got := answer(r.Do(1, minted)[0]); got != "2 c" || r.table.Stopped() != nil {
		t.Errorf("the next command: %q, stopped: %v", got, r.table.Stopped())
	}
}
