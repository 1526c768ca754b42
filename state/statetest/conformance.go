// Package statetest owns the tests that every table must pass.
package statetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// Config configures Run.
type Config struct {
	// New returns an empty table.
	New func() state.Table
	// Command returns a random command, encoded as in an operation's data; r is of
	// math/rand/v2. The table should accept half of them or more: use few names,
	// and what earlier commands have created. seen are the last replies, for
	// commands that need something from a reply.
	Command func(r *rand.Rand, seen []state.Reply) []byte
	// Recorded returns the part of a reply that its encoding holds; nil: all of it,
	// or what the table Keeps.
	Recorded func(state.Reply) state.Reply
	// Alone reports that the table refuses every group.
	Alone bool
	// Step is the mean cluster time between two entries; 0: 1 s.
	Step time.Duration
	// Entries is the number of entries in each round; 0: 200.
	Entries int
	// Rounds is the number of rounds, each with its own seed; 0: 5.
	Rounds int
}

func (c Config) withDefaults() Config {
	if c.Step == 0 {
		c.Step = time.Second
	}
	if c.Entries == 0 {
		c.Entries = 200
	}
	if c.Rounds == 0 {
		c.Rounds = 5
	}
	return c
}

func (c Config) tables() []state.Table { return []state.Table{c.New()} }

// Run tests a table: the same commands have the same replies, events and
// snapshots on every copy, also on one that is restarted midway; a group is
// applied atomically, and only if its operations could be applied one after the
// other; frozen views do not change; Check changes nothing, and does not modify
// the operation's data; Due and Tick agree; commands, replies and snapshots
// survive their encoding; malformed commands are rejected; a snapshot replaces
// the whole content of a table, and a truncated one is rejected and changes
// nothing. Of a table with the methods
//
//	Stage(version uint16, r io.Reader) (staged any, err error)
//	Replace(t *state.Turn, staged any, saved state.Time)
//
// which the restore of a saved snapshot calls in the place of Restore: Stage changes nothing,
// rejects what is truncated, and does not panic at what is damaged; Replace leads to what
// Restore does, and emits no events. Replies are compared by reflect.DeepEqual.
func Run(t *testing.T, c Config) {
	if c.New == nil || c.Command == nil {
		t.Fatal("statetest.Config: New and Command are needed")
	}
	c = c.withDefaults()
	for name, test := range map[string]func(*testing.T, Config, uint64){
		"CopiesAgree":                testCopiesAgree,
		"GroupsAreAllOrNothing":      testGroups,
		"FrozenViewStays":            testFrozenViewStays,
		"CheckChangesNothing":        testCheckChangesNothing,
		"DueAndTickAgree":            testDueAndTickAgree,
		"CommandSurvivesItsEncoding": testCommandCodec,
		"ReplySurvivesItsEncoding":   testReplyCodec,
		"CutSnapshotIsRefused":       testCutSnapshot,
		"DamagedCommandIsRefused":    testDamagedCommand,
		"DamagedSnapshotIsHarmless":  testDamagedSnapshot,
		"ReplaceIsARestore":          testReplace,
		"DamagedStageIsRefused":      testDamagedStage,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(c.Rounds) {
				t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { test(t, c, seed) })
			}
		})
	}
}

// load makes entries: commands and groups, with and without request ids, repeated ones
// among them.
type load struct {
	c     Config
	r     *rand.Rand
	now   state.Time
	next  uint64
	old   []state.Operation
	seen  []state.Reply
	asked bool
	names map[string]string // of request ids, by caller
}

const callers = 3

func newLoad(c Config, seed uint64) *load {
	return &load{c: c, r: rand.New(rand.NewPCG(seed, 7)), names: map[string]string{}}
}

func (l *load) entry(table state.TableID) *machine.Entry {
	l.now = l.now.Add(time.Duration(l.r.Int64N(2*int64(l.c.Step) + 1)))
	e := &machine.Entry{Stamp: l.now, Wall: testreplica.Wall(l.now)}
	for i := uint64(1); !l.asked && i <= callers; i++ {
		e.Operations = append(e.Operations, state.Operation{Table: machine.SystemTable, Caller: callerOf(i), Data: (&machine.OpenName{Bits: i}).Append(nil)})
	}
	l.asked = true
	for range l.r.IntN(6) {
		e.Operations = append(e.Operations, l.operation(table))
	}
	return e
}

func (l *load) operation(table state.TableID) state.Operation {
	if len(l.old) > 0 && l.r.IntN(4) == 0 {
		op := l.old[l.r.IntN(len(l.old))]
		op.Attempt++
		return op
	}
	op := state.Operation{Table: table, Data: l.c.Command(l.r, l.seen)}
	if l.r.IntN(4) == 0 {
		op = l.group(table)
	}
	op.Caller = callerOf(1 + l.r.Uint64N(callers))
	l.next++
	name, named := l.names[op.Caller]
	switch n := l.r.IntN(3); {
	case n == 0 && named:
		op.RequestID, op.Mark = fmt.Sprint(name, ".", l.next), max(l.next, 21)-20
	case n == 1:
		op.RequestID = fmt.Sprint("id", l.next)
	}
	l.old = append(l.old[max(0, len(l.old)-32):], op)
	return op
}

func callerOf(i uint64) string { return fmt.Sprint("caller", i) }

// group makes a group of a few commands.
func (l *load) group(table state.TableID) (op state.Operation) {
	for range 1 + l.r.IntN(4) {
		op.Group = append(op.Group, state.Part{Table: table, Data: l.c.Command(l.r, l.seen)})
	}
	return op
}

// replies are those of a result: one, those of a group, or none.
func replies(r state.Result) []state.Reply {
	if _, opened := r.Reply.(*machine.OpenedName); opened {
		return nil
	}
	group, is := r.Reply.(machine.GroupReply)
	switch {
	case is:
		var all []state.Reply
		for _, p := range group {
			all = append(all, p.Reply)
		}
		return all
	case r.Reply != nil:
		return []state.Reply{r.Reply}
	}
	return nil
}

// learn takes note of replies.
func (l *load) learn(results []state.Result) {
	for _, r := range results {
		if o, opened := r.Reply.(*machine.OpenedName); opened {
			l.names[callerOf(uint64(len(l.names))+1)] = o.Name
		}
		l.seen = append(l.seen[max(0, len(l.seen)-32):], replies(r)...)
	}
}

func testCopiesAgree(t *testing.T, c Config, seed uint64) {
	one, two := testreplica.New(t, c.tables), testreplica.New(t, c.tables)
	codec := c.New()
	l := newLoad(c, seed)
	done := 0
	for i := range c.Entries {
		e := l.entry(codec.ID())
		got, want := two.Apply(e), one.Apply(e)
		if len(got) != len(e.Operations) || len(want) != len(e.Operations) {
			t.Fatalf("entry %d: %d and %d results for %d operations; halted: %v", i, len(got), len(want), len(e.Operations), one.State.Halted())
		}
		for j := range got {
			if g, w := describe(codec, got[j]), describe(codec, want[j]); g != w {
				t.Fatalf("entry %d: operation %d is answered differently:\n%s\n%s", i, j, g, w)
			}
			if got[j].Err == nil {
				done++
			}
		}
		if !reflect.DeepEqual(one.Events, two.Events) {
			t.Fatalf("entry %d: the events differ:\n%v\n%v", i, one.Events, two.Events)
		}
		if i == c.Entries/2 || i == c.Entries/3 || i == c.Entries-1 {
			if !bytes.Equal(one.Snapshot(), two.Snapshot()) {
				t.Fatalf("entry %d: the snapshots differ", i)
			}
			two.Restart()
		}
		l.learn(want)
	}
	if done < c.Entries/2 {
		t.Fatalf("only %d operations of %d entries were done: Config.Command makes too many that are refused", done, c.Entries)
	}
}

// testGroups: the time of a group has come before it, so that only its commands
// change anything.
func testGroups(t *testing.T, c Config, seed uint64) {
	table, old := c.New(), c.New() // old is as table was before a group
	r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
	other := testreplica.New(t, func() []state.Table { return []state.Table{old} })
	l := newLoad(c, seed)
	done := 0
	for range c.Entries {
		e := l.entry(table.ID())
		l.learn(r.Apply(e))
		before, snapshot := content(t, table), r.Snapshot()
		revision, published := r.State.Revision(), len(r.Events)
		op := l.group(table.ID())
		results := r.Do(e.Stamp, op)
		if len(results) != 1 {
			t.Fatalf("%d results; halted: %v", len(results), r.State.Halted())
		}
		l.learn(results)
		if results[0].Err != nil {
			if !bytes.Equal(before, content(t, table)) || r.State.Revision() != revision || len(r.Events) != published {
				t.Fatalf("a refused group has changed something: %v", results[0].Err)
			}
			continue
		}
		done++
		if err := other.Restore(snapshot); err != nil {
			t.Fatalf("cannot restore a snapshot: %v", err)
		}
		oneByOne(t, old, state.Turn{Revision: revision, Now: e.Stamp, Wall: e.Wall}, op.Group)
		group := results[0].Reply.(machine.GroupReply)
		if len(group) != len(op.Group) {
			t.Fatalf("%d replies to a group of %d", len(group), len(op.Group))
		}
		for _, p := range group {
			if p.Revision < revision || p.Revision > results[0].Revision {
				t.Fatalf("an operation has the revision %d, the group before it %d, and its last %d", p.Revision, revision, results[0].Revision)
			}
			revision = p.Revision
		}
	}
	switch {
	case c.Alone && done > 0:
		t.Fatalf("%d groups were done, and the table should refuse all", done)
	case !c.Alone && done == 0:
		t.Fatalf("none of %d groups was done: Config.Command makes too many that are refused", c.Entries)
	}
}

// describe returns a result as text, the reply as its bytes.
func describe(codec state.Table, r state.Result) string {
	var reply []byte
	for _, one := range replies(r) {
		reply = codec.AppendReply(reply, one)
	}
	return fmt.Sprintf("revision %d attempt %d replayed %v error %q %v reply %x", r.Revision, r.Attempt, r.Replayed, interrex.KindOf(r.Err), r.Err, reply)
}

func testFrozenViewStays(t *testing.T, c Config, seed uint64) {
	r := testreplica.New(t, c.tables)
	l := newLoad(c, seed)
	for range c.Entries / 2 {
		l.learn(r.Apply(l.entry(c.New().ID())))
	}
	want := r.Snapshot()
	f, err := r.State.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	for range c.Entries / 2 {
		l.learn(r.Apply(l.entry(c.New().ID())))
	}
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sink.Bytes(), want) {
		t.Fatal("what was frozen has changed with what came after")
	}
}

func testReplyCodec(t *testing.T, c Config, seed uint64) {
	table := c.New()
	r := testreplica.New(t, c.tables)
	l := newLoad(c, seed)
	for range c.Entries {
		results := r.Apply(l.entry(table.ID()))
		for _, res := range results {
			for _, reply := range replies(res) {
				b := table.AppendReply(nil, reply)
				back, err := table.DecodeReply(bytes.Clone(b))
				if err != nil {
					t.Fatalf("cannot decode the reply %+v: %v", reply, err)
				}
				if again := table.AppendReply(nil, back); !bytes.Equal(b, again) || !reflect.DeepEqual(c.recorded(table, reply), back) {
					t.Fatalf("the reply %+v comes back as %+v", reply, back)
				}
			}
		}
		l.learn(results)
	}
}

// recorded is what of a reply has an encoding.
func (c Config) recorded(table state.Table, r state.Reply) state.Reply {
	if c.Recorded != nil {
		return c.Recorded(r)
	}
	if k, is := table.(interface{ Keep(state.Reply) state.Reply }); is {
		return k.Keep(r)
	}
	return r
}
