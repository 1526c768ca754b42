// Package counters owns a replicated table of counters, written as a program
// that embeds agents would: the rules, the service, and a client. An agent only
// needs Table in the Tables of its configuration.
package counters

import (
	"cmp"
	"sync"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/state"
)

// ID is the table's ID in log and snapshots. It must never be reused for
// another table.
const ID = state.FirstEmbedderTable

// MaxCounters is the largest number of counters.
const MaxCounters = 65536

// The kinds of the table's events. The value of each is the counter's Record;
// an expired counter's is its last one.
const (
	CounterIncremented = "counter.incremented"
	CounterSet         = "counter.set"
	CounterExpired     = "counter.expired"
)

// Record is a counter at one moment: the value of every event, and the reply to
// every command.
type Record struct {
	Key    interrex.Key
	Value  uint64
	Expiry state.Time // when it ends; 0: never
}

// Table makes the table, empty, and its service: it is an agent.Table.
func Table() (state.Table, api.Service) {
	t := newTable()
	return t, t.service()
}

// table implements state.Table. What the state calls runs with the lock held;
// get and list take it themselves.
type table struct {
	mu       sync.RWMutex
	counters *btree.Map[string, Record] // by Key.String()
	due      *btree.BTreeG[Record]      // counters that end, the next one first
}

func newTable() *table {
	return &table{counters: new(btree.Map[string, Record]), due: btree.NewBTreeGOptions(sooner, btree.Options{NoLocks: true})}
}

func sooner(a, b Record) bool {
	return cmp.Or(cmp.Compare(a.Expiry, b.Expiry), a.Key.Compare(b.Key)) < 0
}

// Name is the table's name in hellos, reports and snapshots.
func (t *table) Name() string { return "counters" }

// ID is the constant ID.
func (t *table) ID() state.TableID { return ID }

// Version is the version of the encoding of commands, replies and snapshots.
func (t *table) Version() uint16 { return 1 }

// Lock locks the table for writing.
func (t *table) Lock() { t.mu.Lock() }

// Unlock unlocks the table.
func (t *table) Unlock() { t.mu.Unlock() }

// at returns a counter at now; one that does not exist, or is due, has the
// value 0.
func (t *table) at(k interrex.Key, now state.Time) Record {
	if r, there := t.counters.Get(k.String()); there && !r.isDue(now) {
		return r
	}
	return Record{Key: k}
}

// put replaces the counter with the same key.
func (t *table) put(r Record) {
	t.remove(r.Key)
	t.counters.Set(r.Key.String(), r)
	if r.Expiry != 0 {
		t.due.Set(r)
	}
}

func (t *table) remove(k interrex.Key) {
	if r, there := t.counters.Delete(k.String()); there {
		t.due.Delete(r)
	}
}

// emit publishes a counter at the turn's revision.
func (r Record) emit(turn *state.Turn, kind string) {
	const fixed = 128 // bytes of an event without its key
	turn.Emit(kind, r.Key.String(), r, fixed+2*len(r.Key.String()))
}
