package compare

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
)

// The limits of what a Board keeps.
const (
	maxRounds  = 4    // entries, the newest ones
	maxReports = 1024 // of each
)

// Board is what an agent knows of comparisons. It outlives the agent's states, of which
// there is one at a time. It is safe for concurrent use.
type Board struct {
	clock clock.Clock

	mu        sync.Mutex
	frozen    *machine.Frozen // the newest one that was not taken; nil: none
	arrived   chan struct{}   // closed when frozen is set
	rounds    []*round        // oldest first
	revision  interrex.Revision
	at        time.Time // when the newest entry was applied, or this agent was started
	last      *interrex.Comparison
	differs   *interrex.Comparison // the newest with a difference; nil: none since then has one
	condemned chan struct{}        // closed when the state is
	why       error                // it is; nil: it is not
}

// round is the reports on one entry, by agent.
type round struct {
	at      machine.ComparedEntry
	reports map[string]Report
}

// NewBoard returns an empty Board.
func NewBoard(c clock.Clock) *Board {
	return &Board{clock: c, at: c.Now(), arrived: make(chan struct{}), condemned: make(chan struct{})}
}

// Begin begins with a new, empty state. The channel is closed when it is condemned: it
// must end then, and another one begin.
func (b *Board) Begin() (condemned <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
	b.rounds, b.condemned, b.why = nil, make(chan struct{}), nil
	return b.condemned
}

// End drops what there is of the present state, which has ended.
func (b *Board) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
}

func (b *Board) drop() {
	if b.frozen != nil {
		b.frozen.Release()
		b.frozen, b.arrived = nil, make(chan struct{})
	}
}

// Put takes the state frozen at an entry, in place of an earlier one that nobody has
// taken. It is a state.Config.Frozen.
func (b *Board) Put(f *machine.Frozen) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
	b.frozen, b.revision, b.at = f, f.Revision, b.clock.Now()
	close(b.arrived)
	b.rounds = append(b.rounds, &round{f.Entry, map[string]Report{}})
	b.rounds = b.rounds[max(0, len(b.rounds)-maxRounds):]
}

// take returns the frozen state that waits, which now belongs to the caller; nil: none
// does. next is closed when another one arrives.
func (b *Board) take() (f *machine.Frozen, next <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f = b.frozen; f != nil {
		b.frozen, b.arrived = nil, make(chan struct{})
	}
	return f, b.arrived
}

// note keeps an agent's first report on an entry that this agent has applied, too: an
// agent that is filled anew may come by the entry again.
func (b *Board) note(agent string, r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	round := b.round(r.At)
	if round == nil || len(round.reports) == maxReports {
		return
	}
	if _, has := round.reports[agent]; !has {
		round.reports[agent] = r
	}
}

func (b *Board) round(at machine.ComparedEntry) *round {
	i := slices.IndexFunc(b.rounds, func(r *round) bool { return r.at == at })
	if i < 0 {
		return nil
	}
	return b.rounds[i]
}

// reports returns the reports on an entry, by agent.
func (b *Board) reports(at machine.ComparedEntry) map[string]Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	if round := b.round(at); round != nil {
		return maps.Clone(round.reports)
	}
	return nil
}

// show sets what Last returns. A state that is filled anew may come by an entry again, at
// which the former one was compared: that result stays.
func (b *Board) show(c *interrex.Comparison) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last != nil && b.last.Complete && b.last.LogIndex >= c.LogIndex {
		return
	}
	b.last = c
	switch {
	case !c.Complete:
	case len(c.Differences) > 0:
		b.differs = c
	case b.differs != nil && !slices.ContainsFunc(c.Missing, func(id string) bool { return b.differs.Reports[id] != nil }):
		b.differs = nil
	}
}

// Last returns the newest comparison; nil: there was none. It must not be changed.
func (b *Board) Last() *interrex.Comparison {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// Differs returns the newest comparison that has found a difference; nil: there was none,
// or all that took part in it, and are still members, agree since. It must not be changed.
func (b *Board) Differs() *interrex.Comparison {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.differs
}

// due reports whether it is time for a comparison at a revision. Where nothing was
// written since the last one, and no difference was found, it never is.
func (b *Board) due(now interrex.Revision, every time.Duration, revisions uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now <= b.revision && b.differs == nil {
		return false
	}
	return now > b.revision && uint64(now-b.revision) >= revisions || b.clock.Now().Sub(b.at) >= every
}

// Condemn says why the present state must not be used any more, and where the files are
// kept that it has come of.
func (b *Board) Condemn(why error, kept string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != nil {
		return
	}
	b.last, b.differs = keptIn(kept, b.last), keptIn(kept, b.differs)
	b.why = why
	close(b.condemned)
}

// keptIn returns a comparison that says where the files from before are kept.
func keptIn(kept string, c *interrex.Comparison) *interrex.Comparison {
	if c == nil {
		return nil
	}
	changed := *c
	changed.Kept = kept
	return &changed
}

// Condemned returns why the present state must not be used; nil: it may be.
func (b *Board) Condemned() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}
