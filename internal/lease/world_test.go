package lease_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

// epoch is the leader's wall clock at cluster time 0.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// command is any of the table's commands.
type command interface{ state.Command }

// decode reads a command as the table does.
func decode(data []byte) (state.Command, error) { return lease.New().Decode(data) }

// world drives one table as a log would: each call is an entry.
type world struct {
	t        testing.TB
	table    *lease.Table
	revision interrex.Revision
	now      state.Time
	events   []state.Event
	scratch  state.Turn // of run
}

func newWorld(t testing.TB) *world { return &world{t: t, table: lease.New()} }

// turn begins an entry at the world's time.
func (w *world) turn() *state.Turn {
	return &state.Turn{
		Revision: w.revision, Now: w.now, Table: w.table.ID(),
		Wall: epoch.Add(time.Duration(w.now)),
	}
}

// do checks and applies one command; every reply passes through its codec.
func (w *world) do(c command) (*lease.Reply, error) {
	w.table.Lock()
	defer w.table.Unlock()
	decoded, err := w.check(c.Append(nil))
	if err != nil {
		return nil, err
	}
	turn := w.turn()
	turn.Next()
	reply := w.table.Apply(turn, decoded)
	w.finish(turn)
	back, err := w.table.DecodeReply(w.table.AppendReply(nil, reply))
	if err != nil || !reflect.DeepEqual(back, w.table.Keep(reply)) {
		w.t.Fatalf("reply %+v comes back from its codec as %+v, %v", reply, back, err)
	}
	return reply.(*lease.Reply), nil
}

// check decodes a command and asks whether it can be done now.
func (w *world) check(data []byte) (state.Command, error) {
	c, err := w.table.Decode(data)
	if err != nil {
		return nil, err
	}
	return c, w.table.Check(w.now, c)
}

// tick lets time end things, and compares with what the table foresaw.
func (w *world) tick(limit int) int {
	foreseen := w.table.Ends(w.now, limit)
	w.table.Lock()
	defer w.table.Unlock()
	turn := w.turn()
	n := w.table.Tick(turn, limit)
	var ended []interrex.Key
	for _, e := range turn.Events() {
		if e.Kind == interrex.LeaseExpired {
			ended = append(ended, e.Value.(lease.Record).Key)
		}
	}
	if len(ended)+len(foreseen) > 0 && !reflect.DeepEqual(ended, foreseen) {
		w.t.Errorf("Ends(%v, %d) = %v, and Tick ended %v", w.now, limit, foreseen, ended)
	}
	if want := w.revision + interrex.Revision(n); turn.Revision != want {
		w.t.Errorf("%d endings took the revisions up to %d, want %d", n, turn.Revision, want)
	}
	w.finish(turn)
	return n
}

// recover is what a recovery does to the table.
func (w *world) recover() {
	w.table.Lock()
	defer w.table.Unlock()
	turn := w.turn()
	w.table.Recover(turn, "a")
	w.finish(turn)
}

func (w *world) finish(turn *state.Turn) {
	w.revision = turn.Revision
	w.events = append(w.events, turn.Events()...)
}

// snapshot returns the table's bytes.
func (w *world) snapshot() []byte {
	w.table.Lock()
	v := w.table.Freeze()
	w.table.Unlock()
	defer v.Release()
	return written(v)
}

func written(v state.View) []byte {
	var b bytes.Buffer
	if err := v.Write(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// restart puts a restored table in the place of the table.
func (w *world) restart() {
	before := w.snapshot()
	fresh := lease.New()
	if err := fresh.Restore(fresh.Version(), bytes.NewReader(before)); err != nil {
		w.t.Fatal(err)
	}
	w.table = fresh
	if after := w.snapshot(); !bytes.Equal(before, after) {
		w.t.Fatalf("the restored table writes\n%x, want\n%x", after, before)
	}
}

// must returns a command from the answer of a From function that may not fail.
func must[C any](c C, err error) C {
	if err != nil {
		panic(err)
	}
	return c
}

func key(s string) interrex.Key { return must(interrex.ParseKey(s)) }
