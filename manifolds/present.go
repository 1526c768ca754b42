package manifolds

import (
	"maps"
	"time"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/change"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/fsm"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/reads"
	"github.com/interrex/interrex/resource"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
	"github.com/interrex/interrex/watch"
	"github.com/interrex/interrex/webhook"
)

// parts is what may be there; nil: it does not run now.
type parts struct {
	identity  *raftworker.Identity
	directory string
	state     *state.State
	leases    *lease.Table
	resources *resource.Table
	changes   *change.Table
	webhooks  *webhook.Table
	machine   *fsm.Table // nil also where the embedder has none
	ring      *watch.Ring
	queue     *queue.Queue
	notifier  *notify.Worker
	hooks     *hookcaller.Caller
	teller    *hookcaller.Worker
	transport *transport.Transport
	between   transport.TLS    // the transport's; nil: the agent is alone
	apiTLS    *transport.Files // of the API that is served; nil: none
	raft      *raftworker.Worker
	vitals    vitals // the same
	raftDoor  Entrance
	applier   *leaseapplier.Applier
	acks      acks
	rounds    *reads.Rounds
	forwarder *forwarder
	server    *api.Server
	client    *ownClient
	draining  bool
	step      string // of a drain: what it waits for
}

// longCall is the longest that a call of the embedder's machine may have taken
// for the tables to be worth waiting for.
const longCall = 100 * time.Millisecond

// readable reports whether the tables can be asked without a long wait: nothing can
// while the embedder's machine does not return.
func (p parts) readable() bool {
	if p.machine == nil {
		return true
	}
	busy := p.machine.Busy()
	if busy > 0 && busy < longCall {
		time.Sleep(longCall - busy)
		busy = p.machine.Busy()
	}
	return busy < longCall
}

// set changes what runs, and returns what undoes it.
func (p *Present) set(change func(*parts), undo func(*parts)) (end func()) {
	p.change(change)
	return func() { p.change(undo) }
}

func (p *Present) change(f func(*parts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.parts)
	close(p.changed)
	p.changed = make(chan struct{})
}

// enterRaft begins a visit to the raft that runs; nil: none does, or it stops.
// changed is closed when something else runs.
func (p *Present) enterRaft(name string) (v *gate.Visit, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parts.raftDoor != nil {
		// A door that is closed already lets nobody in: v is nil.
		v, _ = p.parts.raftDoor.Enter(name)
	}
	return v, p.changed
}

func (p *Present) now() parts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts
}

// Client returns this agent's own client, nil while it does not run.
func (p *Present) Client() *client.Client {
	if c := p.now().client; c != nil {
		return c.Client
	}
	return nil
}

// State returns the replicated state, nil while it does not run.
func (p *Present) State() *state.State { return p.now().state }

// Changes returns the feed, nil while the replicated state does not run.
func (p *Present) Changes() *change.Table { return p.now().changes }

// Server returns the API's server, nil while it does not run.
func (p *Present) Server() *api.Server { return p.now().server }

// ID returns the agent's ID, "" before its identity was read.
func (p *Present) ID() string {
	if id := p.now().identity; id != nil {
		return id.ID
	}
	return ""
}

// bound notes an address that a worker listens on; "" that it does no more.
func (p *Present) bound(name, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if address == "" {
		delete(p.addresses, name)
		return
	}
	p.addresses[name] = address
}

// Addresses returns what is bound now: "api", "cluster", "socket".
func (p *Present) Addresses() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.addresses)
}
