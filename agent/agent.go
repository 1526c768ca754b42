package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/change"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/manifolds"
	"github.com/interrex/interrex/raftworker/leadership"
)

// The bounds of Start and Stop when their contexts have none.
const (
	StartTimeout = 30 * time.Second
	StopTimeout  = 30 * time.Second
)

// ErrStopped is what is asked of an agent that does not run.
var ErrStopped = errors.New("the agent does not run")

// Agent is one agent. It may be started again after it was stopped. Its
// methods may be called from several goroutines.
type Agent struct {
	config   Config
	trackers change.Trackers

	life sync.Mutex // held by Start and Stop
	mu   sync.Mutex
	run  *run // nil: it does not run
	last error
	dead chan struct{} // closed while it does not run
}

// run is one life between Start and Stop.
type run struct {
	set    *manifolds.Set
	engine *dependency.Engine
}

// New checks the configuration. Nothing runs yet.
func New(c Config) (*Agent, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot make the agent: %w", err)
	}
	if c.Observers == nil {
		c.Observers = new(Observers)
	}
	dead := make(chan struct{})
	close(dead)
	return &Agent{config: c, dead: dead}, nil
}

// Start binds the addresses and starts the workers. It does not wait for a
// quorum: Ready does. An agent that runs already is left alone.
func (a *Agent) Start(ctx context.Context) error {
	a.life.Lock()
	defer a.life.Unlock()
	if a.running() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	r, err := a.newRun()
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	if err := r.bound(ctx); err != nil {
		r.engine.Kill()
		return errors.Join(fmt.Errorf("cannot start the agent: %w", err), r.engine.Wait())
	}
	a.mu.Lock()
	a.run, a.dead = r, make(chan struct{})
	dead := a.dead
	a.mu.Unlock()
	go a.follow(r, dead)
	return nil
}

// follow notes the end of a life.
func (a *Agent) follow(r *run, dead chan struct{}) {
	err := r.engine.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run, a.last = nil, err
	close(dead)
}

// end is closed while the agent does not run.
func (a *Agent) end() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dead
}

func (a *Agent) running() *run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.run
}

// Ready waits until this agent knows a leader, answers for it, and has a
// quorum behind it.
func (a *Agent) Ready(ctx context.Context) error {
	r := a.running()
	if r == nil {
		return ErrStopped
	}
	var last error
	for {
		if last = a.probe(ctx, r); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the agent is not ready: %w", ctx.Err()), last)
		case <-a.end():
			return ErrStopped
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// probe makes one strong read.
func (a *Agent) probe(ctx context.Context, r *run) error {
	c, st := r.set.Client(), r.set.State()
	if c == nil || st == nil {
		return errors.New("its API does not run yet")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	at, err := client.Call[interrexv1.ReadIndexRequest, interrexv1.ReadIndexResponse](ctx, c, interrexv1.StateServiceReadIndexProcedure, &interrexv1.ReadIndexRequest{}, client.Options{})
	if err != nil {
		return err
	}
	return st.WaitApplied(ctx, at.GetLogIndex())
}

// Stop drains: the agent is not ready any more, hands leadership over, finishes
// what was forwarded to it, releases the leases that are held through it, and
// stops. It is safe on an agent that does not run. When ctx ends, it stops
// without further waiting.
func (a *Agent) Stop(ctx context.Context) error {
	a.life.Lock()
	defer a.life.Unlock()
	r := a.running()
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, StopTimeout)
	defer cancel()
	drained := r.set.Drain(ctx)
	r.engine.Kill()
	return errors.Join(drained, a.Wait())
}

// Kill stops the agent without draining first; Wait waits for it.
func (a *Agent) Kill() {
	if r := a.running(); r != nil {
		r.engine.Kill()
	}
}

// Wait returns when the agent does not run, with what ended it.
func (a *Agent) Wait() error {
	<-a.end()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// ID returns the agent's ID; "" before its first start when the configuration
// has none.
func (a *Agent) ID() string {
	if r := a.running(); r != nil {
		return r.set.ID()
	}
	return a.config.ID
}

// Addrs returns what the agent listens on: "api", "cluster", "socket".
func (a *Agent) Addrs() map[string]string {
	if r := a.running(); r != nil {
		return r.set.Addresses()
	}
	return nil
}

// Leases are the leases of the cluster, through this agent. They may be asked
// for once the agent is started, and outlive restarts of it.
func (a *Agent) Leases() interrex.Leases { return leases{client.LeasesOf(a), a} }

// Changes are the feed of the cluster's changes, through this agent. They may be
// asked for once the agent is started, and outlive restarts of it.
func (a *Agent) Changes() interrex.Changes { return client.ChangesOf(a) }

// Applied is the tracker of the revision that this agent has applied: it rises
// with each change, and is closed when this life of the replicated state ends.
// The error says that the agent does not run.
func (a *Agent) Applied() (*change.Tracker, error) {
	if r := a.running(); r != nil {
		if feed := r.set.Changes(); feed != nil {
			return feed.Applied(), nil
		}
	}
	return nil, ErrStopped
}

// Tracker returns the tracker of a name, which is the same for all who ask this
// agent for it. They outlive restarts of it.
func (a *Agent) Tracker(name string) (*change.Tracker, error) { return a.trackers.Named(name) }

// Resources are the resources of the cluster, through this agent. They may be
// asked for once the agent is started, and outlive restarts of it.
func (a *Agent) Resources() interrex.Resources { return client.ResourcesOf(a) }

// Webhooks sets and reads webhooks, through this agent.
func (a *Agent) Webhooks() interrex.Webhooks { return client.WebhooksOf(a) }

// Propose puts a command of an embedder's own state machine or table into the log,
// from any agent, and returns what it answers. What a state machine refuses has
// an answer, with its revision, and the machine's error.
func (a *Agent) Propose(ctx context.Context, p interrex.Proposal) (interrex.ProposalAnswer, error) {
	return client.Propose(ctx, a, p)
}

// RegisterObserver lets an observer see what this agent applies, from the next
// change on, and after restarts of the agent too. One that is registered already
// is registered once. A filter may call it.
func (a *Agent) RegisterObserver(o *Observer) { a.config.Observers.Register(o) }

// UnregisterObserver ends that: nothing is sent to its channel after it returns.
// One that is not registered is left alone. A filter may call it.
func (a *Agent) UnregisterObserver(o *Observer) { a.config.Observers.Unregister(o) }

// Status says how the agent and its cluster are. It asks nobody.
func (a *Agent) Status() api.Status {
	r := a.running()
	if r == nil {
		return api.Status{ID: a.config.ID, State: api.Stopped}
	}
	return r.set.Status()
}

// Leadership begins a watch of who leads: it replays the present, coalesces,
// and carries the term.
func (a *Agent) Leadership() (*leadership.Watch, error) {
	r := a.running()
	if r == nil {
		return nil, ErrStopped
	}
	return r.set.Leadership.Watch(), nil
}

// Handler is the API, for one's own mux. Every caller that reaches it is the
// operator. The Go client, gRPC and what streams need a server that speaks
// HTTP/2: over TLS an http.Server does, in the clear once SetUnencryptedHTTP2 of
// its Protocols is on. JSON is content with HTTP/1.1.
func (a *Agent) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r := a.running()
		if r == nil {
			http.Error(w, ErrStopped.Error(), http.StatusServiceUnavailable)
			return
		}
		r.set.Handler().ServeHTTP(w, q)
	})
}

// Report is the dependency engine, live.
func (a *Agent) Report() map[string]any {
	if r := a.running(); r != nil {
		return r.set.Report(r.engine)
	}
	return map[string]any{"state": "stopped"}
}

// Reload takes up the configuration that Config.Load reads, and names the
// sections that have changed. Only their workers are restarted. What can be
// checked is checked first: an error changes nothing, and has a line for each
// problem.
func (a *Agent) Reload() ([]string, error) {
	r := a.running()
	if r == nil {
		return nil, ErrStopped
	}
	return r.set.Reload(context.Background())
}
