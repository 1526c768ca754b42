package peering

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
)

// maxKnown limits how many agents are remembered; no cluster has nearly as many.
const maxKnown = 256

// meeting is a hello and the connection over which it came.
type meeting struct {
	sent Hello // as it was sent
	// host and port, both of the connection, complete addresses in the hello that
	// lack them. port is empty when the other agent has dialled.
	host, port string
	from       string // the host at the other end
	// dialled is whether this agent has reached the other there, and no dial has
	// failed since.
	dialled bool
}

// seenAt returns a meeting with an agent that has dialled.
func seenAt(remote net.Addr, sent Hello) meeting {
	return meeting{sent: sent, host: inbound.HostOf(remote), from: inbound.HostOf(remote)}
}

// dialledAt returns a meeting with an agent that was dialled.
func dialledAt(address string, remote net.Addr, sent Hello) meeting {
	m := seenAt(remote, sent)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return m
	}
	m.port, m.dialled = port, true
	if net.ParseIP(host) != nil { // a name may resolve to several agents
		m.host = host
	}
	return m
}

// hello returns the hello with addresses that this agent can use.
func (m meeting) hello() Hello { return m.sent.completed(m.host, m.port) }

// samePlace reports whether o is a meeting with the same instance of an agent, with
// the same address in its hello.
func (m meeting) samePlace(o meeting) bool {
	return m.sent.Instance == o.sent.Instance && m.sent.ClusterAddress == o.sent.ClusterAddress
}

// book remembers which agents were met and the addresses of agents. What an agent
// says of itself takes precedence over what others say of it.
type book struct {
	self  string
	given map[string]string // Config.Peers; never changed
	// recorded is Config.Recorded; nil: nothing is.
	recorded func() map[string]string
	// remembered are the addresses at which agents were met before a restart.
	remembered func() map[string]string

	mu      sync.Mutex
	met     map[string]meeting
	reached map[string]string // IDs, by address that was dialled
}

func newBook(self string, given map[string]string, recorded func() map[string]string) *book {
	return &book{
		self: self, given: maps.Clone(given), recorded: recorded, remembered: func() map[string]string { return nil },
		met: map[string]meeting{}, reached: map[string]string{},
	}
}

// learn records a meeting and reports whether the hello is news. The
// address at which it was dialled takes precedence over the one from which it was
// seen; neither is news.
func (b *book) learn(m meeting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.met[m.sent.ID]
	if !known && len(b.met) >= maxKnown {
		return false
	}
	if old.dialled && old.samePlace(m) {
		m.host, m.port, m.dialled = old.host, old.port, true
	}
	b.met[m.sent.ID] = m
	return !known || !old.sent.equal(m.sent)
}

// forget forgets an agent on a disk.
func (b *book) forget(id, incarnation string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.met[id].sent.Incarnation == incarnation {
		delete(b.met, id)
	}
}

// noteReached records that an agent was reached at an address.
func (b *book) noteReached(address, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.reached[address]; !known && len(b.reached) >= 2*maxKnown {
		clear(b.reached)
	}
	b.reached[address] = id
	b.forgetDial(address, id)
}

// dialFailed records that dialling an address failed: the agent may be elsewhere.
func (b *book) dialFailed(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetDial(address, "")
}

func (b *book) forgetDial(address, found string) {
	for id, m := range b.met {
		if id != found && m.dialled && m.hello().ClusterAddress == address {
			m.dialled = false
			b.met[id] = m
		}
	}
}

// hellos returns the agents that were met, sorted by ID.
func (b *book) hellos() []Hello {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sorted()
}

// latest returns an agent's latest hello, as it was sent; false: it was not met.
func (b *book) latest(id string) (Hello, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, met := b.met[id]
	return m.sent, met
}

func (b *book) sorted() []Hello {
	all := make([]Hello, 0, len(b.met))
	for _, m := range b.met {
		all = append(all, m.hello())
	}
	slices.SortFunc(all, func(x, y Hello) int { return cmp.Compare(x.ID, y.ID) })
	return all
}

// list returns the agents that were met, for a hello.
func (b *book) list() []Met {
	var met []Met
	for _, h := range b.hellos() {
		met = append(met, Met{ID: h.ID, Incarnation: h.Incarnation, Address: h.ClusterAddress})
	}
	return met
}

// metByOthers returns the cluster addresses of agents that others have met and this one
// has not.
func (b *book) metByOthers() map[string]string {
	addresses := map[string]string{}
	for _, h := range b.sorted() {
		for _, m := range h.Met {
			_, first := b.met[m.ID]
			if first || m.ID == b.self || addresses[m.ID] != "" || len(addresses) >= maxKnown {
				continue
			}
			if certificates.CheckID(m.ID) == nil && inbound.CheckAddress(m.Address) == nil {
				addresses[m.ID] = m.Address
			}
		}
	}
	return addresses
}

// address returns an agent's cluster address, "" when it is not known.
func (b *book) address(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m, met := b.met[id]; met {
		if at := m.hello().ClusterAddress; at != "" {
			return at
		}
		return b.told(id)
	}
	if at := b.metByOthers()[id]; at != "" {
		return at
	}
	return b.told(id)
}

// told returns an agent's address as it was given, recorded by the cluster, or remembered.
func (b *book) told(id string) string {
	if b.given[id] != "" {
		return b.given[id]
	}
	if b.recorded != nil {
		if members := b.recorded(); len(members) > 0 {
			return members[id]
		}
	}
	return b.remembered()[id]
}

// metAt reports whether a known agent is at, or has dialled from, a host.
func (b *book) metAt(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.met {
		at, _, _ := net.SplitHostPort(m.hello().ClusterAddress)
		if host == m.from || host == at {
			return true
		}
	}
	return false
}

// idAt returns the agent that was reached at an address, or whose hello names it;
// "" when there is none.
func (b *book) idAt(address string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id := b.reached[address]; id != "" {
		return id
	}
	for id, m := range b.met {
		if m.hello().ClusterAddress == address {
			return id
		}
	}
	return ""
}

// apiAddress returns an agent's API address, "" when it was not met.
func (b *book) apiAddress(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, met := b.met[id]
	if !met {
		return ""
	}
	return m.hello().APIAddress
}

// addresses returns every cluster address that is known.
func (b *book) addresses() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, m := range b.met {
		all = append(all, m.hello().ClusterAddress)
	}
	all = slices.AppendSeq(all, maps.Values(b.metByOthers()))
	known := b.remembered() // as long as the cluster has recorded nobody
	if b.recorded != nil {
		if members := b.recorded(); len(members) > 0 {
			known = members
		}
	}
	for id, address := range known {
		if id != b.self {
			all = append(all, address)
		}
	}
	return slices.AppendSeq(all, maps.Values(b.given))
}
