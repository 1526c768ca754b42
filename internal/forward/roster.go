package forward

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/interrex/interrex/transport"
)

// maxAddresses bounds how many addresses of members are remembered.
const maxAddresses = 64

// roster has the addresses of members, and the connections to them.
type roster struct {
	tls    transport.TLS
	dialer transport.Dialer

	mu    sync.Mutex
	lines map[string]*memberLine // by address
	order []string               // of addresses; the first is the one in use
}

// addresses returns those that are known, at most maxAddresses, in the order in which they
// are tried.
func (r *roster) addresses(known []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := map[string]bool{}
	for _, address := range known {
		if len(keep) < maxAddresses {
			keep[address] = true
		}
	}
	r.order = slices.DeleteFunc(r.order, func(address string) bool { return !keep[address] })
	first := min(1, len(r.order)) // the one in use stays it
	for address := range keep {
		if !slices.Contains(r.order, address) { // agents spread over the members
			r.order = slices.Insert(r.order, first+rand.N(len(r.order)+1-first), address)
		}
	}
	for address, l := range r.lines {
		if !keep[address] {
			l.CloseIdleConnections()
			delete(r.lines, address)
		}
	}
	return slices.Clone(r.order)
}

// line returns the connections to a member.
func (r *roster) line(address string) *memberLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines[address]
	if l == nil {
		l = newMemberLine(address, r.tls, r.dialer)
		r.lines[address] = l
	}
	return l
}

// present returns the order in which the addresses are tried.
func (r *roster) present() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

// demote makes an address the last one to be tried.
func (r *roster) demote(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.order, address); i >= 0 {
		r.order = append(slices.Delete(r.order, i, i+1), address)
	}
}

// use makes an address the first one to be tried. The connections to the one that was the
// first are cut: streams on them go on at the other member.
func (r *roster) use(address string) {
	r.mu.Lock()
	var left *memberLine
	if i := slices.Index(r.order, address); i > 0 {
		left = r.lines[r.order[0]]
		r.order = slices.Insert(slices.Delete(r.order, i, i+1), 0, address)
	}
	r.mu.Unlock()
	if left != nil {
		left.cut()
	}
}

// rest closes the connections that are not used now; all is whether also those to the
// member in use.
func (r *roster) rest(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for address, l := range r.lines {
		if all || len(r.order) == 0 || address != r.order[0] {
			l.CloseIdleConnections()
		}
	}
}
