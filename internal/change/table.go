// Package change owns the feed of everything that was committed: the events of all
// tables in the order of their revisions, the changes that users append, and the
// reads that wait for either.
package change

import (
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Table is the feed. It implements state.Table and the optional interfaces below:
// state passes every event to it.
//
// Lock and Unlock are for State, which takes the lock once an entry. The methods of
// state's interfaces are called with it held; every other method takes the read lock
// itself, briefly: it searches a view without the lock.
type Table struct {
	mu sync.RWMutex

	feed    feed
	keep    retention
	waiting waiting
	applied *Tracker
	codec   func(state.TableID) state.EventCodec
}

var (
	_ state.Table        = (*Table)(nil)
	_ state.EventCodec   = (*Table)(nil)
	_ state.Configurable = (*Table)(nil)
)

// New makes an empty feed.
func New() *Table {
	return &Table{keep: defaultRetention(), feed: feed{index: newIndex()}, applied: NewTracker()}
}

// Name is the table's name in reports and snapshots.
func (t *Table) Name() string { return "changes" }

// ID is machine.ChangeTable.
func (t *Table) ID() state.TableID { return machine.ChangeTable }

// Version is the version of the commands' and the snapshot's encoding.
func (t *Table) Version() uint16 { return 1 }

// Lock takes the table for writing.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock releases the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// Due is part of state.Table: the feed needs no tick. The next entry drops what is
// too old.
func (t *Table) Due() (state.Time, bool) { return 0, false }

// Tick is part of state.Table.
func (t *Table) Tick(*state.Turn, int) int { return 0 }

// UseCodecs is part of state's recorder.
func (t *Table) UseCodecs(of func(state.TableID) state.EventCodec) { t.codec = of }

// Record is part of state's recorder.
func (t *Table) Record(now state.Time, last interrex.Revision, events []state.Event) {
	t.feed.add(events, last)
	t.feed.trim(now, t.keep)
	t.waiting.wake(events)
	t.applied.Update(last)
}

// Skip is part of state's recorder.
func (t *Table) Skip(to interrex.Revision) {
	t.feed = feed{index: newIndex(), floor: to, last: to}
	t.waiting.wakeAll()
	t.applied.Update(to)
}

// Applied returns the tracker of the applied revision. It is closed with the table.
func (t *Table) Applied() *Tracker { return t.applied }

// Close ends all waits, and those that begin later.
func (t *Table) Close() {
	t.applied.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting.close()
}

// The settings of the table.
const (
	settingCount = "changes.keep-count"
	settingAge   = "changes.keep-age"
	settingBytes = "changes.keep-bytes"
)

// retention limits what is kept. Its fields are settings.
type retention struct {
	count int
	age   time.Duration // of cluster time
	bytes int64         // by Event.Size
}

func defaultRetention() retention {
	return retention{count: 100_000, age: 7 * 24 * time.Hour, bytes: 256 << 20}
}

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	d := defaultRetention()
	return []state.Setting{
		state.IntSetting(settingCount, "changes kept at most", int64(d.count), 1, 10_000_000),
		state.DurationSetting(settingAge, "how long a change is kept at most", d.age, time.Second, 10*365*24*time.Hour),
		state.IntSetting(settingBytes, "bytes of all kept changes at most, about as in memory", d.bytes, 1<<10, 1<<40),
	}
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) {
	t.keep = retention{
		count: int(state.SettingInt(value(settingCount))),
		age:   state.SettingDuration(value(settingAge)),
		bytes: state.SettingInt(value(settingBytes)),
	}
}
