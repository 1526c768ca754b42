package manifolds

import (
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// running returns what the worker of a name gives by its type; the zero value if
// it does not run, or stops. It is for those who look at an agent from outside:
// a worker names its inputs in the graph.
func running[T any](s *Set, name string) (value T) {
	u, is := s.Starts.worker(s.name(name)).(*unit)
	for is && u.tomb.Alive() {
		for _, v := range u.values {
			if value, is := v.(T); is {
				return value
			}
		}
		u, is = u.inner.(*unit)
	}
	return value
}

// view is what runs now, for alarms, metrics, status and readiness; nil: it does
// not run.
type view struct {
	dir       *dataDir
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
	between   transport.TLS       // the transport's; nil: the agent is alone
	apiTLS    *certificates.Files // of the API that is served; nil: none
	raft      *raftworker.Worker
	vitals    vitals // the same
	acks      acks
}

func (s *Set) view() view {
	return view{
		dir:       running[*dataDir](s, IdentityName),
		state:     running[*state.State](s, StateName),
		leases:    running[*lease.Table](s, StateName),
		resources: running[*resource.Table](s, StateName),
		changes:   running[*change.Table](s, StateName),
		webhooks:  running[*webhook.Table](s, StateName),
		machine:   running[*fsm.Table](s, StateName),
		ring:      running[*watch.Ring](s, StateName),
		queue:     running[*queue.Queue](s, QueueName),
		notifier:  running[*notify.Worker](s, NotifyName),
		hooks:     running[*hookcaller.Caller](s, HookCallerName),
		teller:    running[*hookcaller.Worker](s, WebhooksName),
		transport: running[*transport.Transport](s, TransportName),
		between:   running[transport.TLS](s, TransportName),
		apiTLS:    running[*certificates.Files](s, APIListenerName),
		raft:      running[*raftworker.Worker](s, RaftName),
		vitals:    running[vitals](s, RaftName),
		acks:      running[acks](s, RaftName),
	}
}

// longCall is the longest that a call of the embedder's machine may have taken
// for the tables to be worth waiting for.
const longCall = 100 * time.Millisecond

// readable reports whether the tables can be asked without a long wait: nothing can
// while the embedder's machine does not return.
func (v view) readable() bool {
	if v.machine == nil {
		return true
	}
	busy := v.machine.Busy()
	if busy > 0 && busy < longCall {
		time.Sleep(longCall - busy)
		busy = v.machine.Busy()
	}
	return busy < longCall
}

// ID returns the agent's ID, "" before its identity was read.
func (s *Set) ID() string {
	if dir := running[*dataDir](s, IdentityName); dir != nil {
		return dir.ID
	}
	return ""
}

// Client returns the agent's client of its API, nil while it does not run.
func (s *Set) Client() *client.Client { return running[*client.Client](s, ClientName) }

// State returns the replicated state, nil while it does not run.
func (s *Set) State() *state.State { return running[*state.State](s, StateName) }

// Applied returns the tracker of the revision that the agent has applied, nil while
// the replicated state does not run.
func (s *Set) Applied() interrex.Tracker {
	if feed := running[*change.Table](s, StateName); feed != nil {
		return feed.Applied()
	}
	return nil
}

// server returns the API's server, nil while it does not run.
func (s *Set) server() *apiserver.Server { return running[*apiserver.Server](s, APIName) }

// Addresses returns what is bound now: "api", "cluster", "socket".
func (s *Set) Addresses() map[string]string {
	at, _ := s.ports.Addresses()
	return at
}
