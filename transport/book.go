package transport

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// maxKnown limits how many agents are remembered; it is far above any cluster
// of one raft log.
const maxKnown = 256

// book remembers which agents were met and where agents are said to be. What
// an agent said itself goes before what others say of it.
type book struct {
	given map[string]string // Config.Peers; never changed

	mu      sync.Mutex
	met     map[string]Hello
	hearsay map[string]string // cluster addresses of agents not met
}

func newBook(given map[string]string) *book {
	return &book{given: maps.Clone(given), met: map[string]Hello{}, hearsay: map[string]string{}}
}

// learn takes up an agent's own hello and reports whether it says something
// new.
func (b *book) learn(self string, h Hello) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.met[h.ID]
	if !known && len(b.met) >= maxKnown {
		return false
	}
	b.met[h.ID] = h
	if known && old.equal(h) {
		return false
	}
	delete(b.hearsay, h.ID)
	for _, m := range h.Met {
		if _, first := b.met[m.ID]; !first && m.ID != self && len(b.hearsay) < maxKnown {
			b.hearsay[m.ID] = m.Address
		}
	}
	return true
}

// hellos gives the agents that were met, sorted by ID.
func (b *book) hellos() []Hello {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.met), func(x, y Hello) int { return cmp.Compare(x.ID, y.ID) })
}

// list gives the agents that were met as a hello names them.
func (b *book) list() []Met {
	var met []Met
	for _, h := range b.hellos() {
		met = append(met, Met{ID: h.ID, Incarnation: h.Incarnation, Address: h.ClusterAddress})
	}
	return met
}

// address gives where an agent's cluster port is, "" when nobody said.
func (b *book) address(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cmp.Or(b.met[id].ClusterAddress, b.hearsay[id], b.given[id])
}

// idAt returns the agent that is said to be at an address, "" when nobody was met
// there.
func (b *book) idAt(address string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, h := range b.met {
		if h.ClusterAddress == address {
			return id
		}
	}
	return ""
}

// apiAddress gives where an agent's API is, "" when it was not met.
func (b *book) apiAddress(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.met[id].APIAddress
}

// addresses gives every cluster address that is known.
func (b *book) addresses() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, h := range b.met {
		all = append(all, h.ClusterAddress)
	}
	all = slices.AppendSeq(all, maps.Values(b.hearsay))
	return slices.AppendSeq(all, maps.Values(b.given))
}
