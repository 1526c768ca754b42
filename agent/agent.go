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
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/raftworker/leadership"
)

// startTimeout bounds Start.
const startTimeout = 30 * time.Second

// StopTimeout bounds Stop and Leave when their contexts do not.
const StopTimeout = 30 * time.Second

// ErrStopped is the error, or the cause of the error, of methods of an agent that is
// not running.
var ErrStopped = errors.New("the agent is not running")

// Agent is one agent. It may be restarted after Stop. Its methods are safe for
// concurrent use.
type Agent struct {
	config   Config
	trackers change.Trackers

	life sync.Mutex // held by Start and Stop
	mu   sync.Mutex
	run  *run // nil: not running
	last error
	dead chan struct{} // closed while it is not running
}

// run is one run, from Start to Stop.
type run struct {
	*Workers
	engine *dependency.Engine
}

// New checks the configuration. It starts nothing. Its error has a line for each value
// that is not valid, and no kind.
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
// quorum: Ready does. On a running agent it does nothing. Its error is about this
// machine (a directory, a file, a port) or the end of ctx, and seldom has a kind.
func (a *Agent) Start(ctx context.Context) error {
	a.life.Lock()
	defer a.life.Unlock()
	if a.running() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
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

// follow records the end of a run.
func (a *Agent) follow(r *run, dead chan struct{}) {
	err := r.engine.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run, a.last = nil, err
	close(dead)
}

// end is closed while the agent is not running.
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

// Ready waits until this agent knows a leader, is ready to serve requests, and a
// strong read has confirmed a quorum.
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
	if c == nil || st == nil && !r.set.WithoutRaft() {
		return errors.New("its API does not run yet")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	at, err := client.Call[interrexv1.ReadIndexRequest, interrexv1.ReadIndexResponse](ctx, c, interrexv1.StateServiceReadIndexProcedure, &interrexv1.ReadIndexRequest{}, client.Options{})
	if err != nil {
		return err
	}
	if r.set.WithoutRaft() {
		return nil // a member has
	}
	if err := st.WaitApplied(ctx, at.GetLogIndex()); err != nil {
		return err
	}
	if !r.set.HasHeard() {
		return errors.New("it does not know yet who may use its API")
	}
	return nil
}

// Stop drains: the agent becomes unready, hands leadership over, finishes
// forwarded requests, releases the leases that are held through it, and stops. It
// is safe on an agent that is not running. When ctx ends, it stops without
// further waiting.
func (a *Agent) Stop(ctx context.Context) error {
	a.life.Lock()
	defer a.life.Unlock()
	r := a.running()
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, StopTimeout)
	defer cancel()
	drained := r.Drain(ctx)
	r.engine.Kill()
	return errors.Join(drained, a.Wait())
}

// Destroy takes the agent out of its cluster, drains and stops it as Stop does, and
// deletes raft's data in its directory, and only that: see 'interrex agent leave
// --purge'. The last voter, and one without which there is no quorum, is refused with
// ErrConflict. After an error the agent goes on, unless it has left. On an agent that
// is not running the error is ErrStopped.
func (a *Agent) Destroy(ctx context.Context) error {
	a.life.Lock()
	defer a.life.Unlock()
	r := a.running()
	if r == nil {
		return ErrStopped
	}
	ctx, cancel := context.WithTimeout(ctx, StopTimeout)
	defer cancel()
	if err := r.set.Leave(ctx, true); err != nil {
		return fmt.Errorf("cannot destroy the agent: %w", err)
	}
	drained := r.Drain(ctx)
	r.engine.Kill()
	return errors.Join(drained, a.Wait())
}

// Kill stops the agent without draining first; Wait waits for it.
func (a *Agent) Kill() {
	if r := a.running(); r != nil {
		r.engine.Kill()
	}
}

// Wait waits until the agent has stopped, and returns the error that ended it.
func (a *Agent) Wait() error {
	<-a.end()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// ID returns the agent's ID; "" before its first start if the configuration has
// none.
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

// Leases returns the leases of the cluster, through this agent. It may be called
// before the agent is started; the result remains valid across restarts.
func (a *Agent) Leases() interrex.Leases { return leases{client.Through(a).Leases(), a} }

// Changes returns the feed of the cluster's changes, through this agent. It may
// be called before the agent is started; the result remains valid across
// restarts.
func (a *Agent) Changes() interrex.Changes { return client.Through(a).Changes() }

// Applied returns the tracker of the revision that this agent has applied: it
// increases with each change, and is closed when the replicated state is stopped
// or restarted. The error is ErrStopped if the agent is not running.
func (a *Agent) Applied() (interrex.Tracker, error) {
	if r := a.running(); r != nil {
		if applied := r.set.Applied(); applied != nil {
			return applied, nil
		}
	}
	return nil, ErrStopped
}

// Tracker returns the tracker of a name, the same one for every caller. It
// remains valid across restarts of the agent.
func (a *Agent) Tracker(name string) (interrex.Tracker, error) {
	t, err := a.trackers.Named(name)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Resources returns the resources of the cluster, through this agent. It may be
// called before the agent is started; the result remains valid across restarts.
func (a *Agent) Resources() interrex.Resources { return client.Through(a).Resources() }

// Webhooks returns the API for webhooks, through this agent.
func (a *Agent) Webhooks() interrex.Webhooks { return client.Through(a).Webhooks() }

// Members returns the members of the agent's cluster.
func (a *Agent) Members() interrex.Members { return client.Through(a).Members() }

// Snapshots returns the copies of the cluster's state, which this agent makes.
func (a *Agent) Snapshots() interrex.Snapshots { return client.Through(a).Snapshots() }

// Propose appends a command of an embedder's own state machine or table to the
// log, from any agent, and returns the reply. If the state machine refuses the
// command, the answer has its revision, and the error is the machine's.
func (a *Agent) Propose(ctx context.Context, p interrex.Proposal) (interrex.Answer[[]byte], error) {
	return client.Through(a).Propose(ctx, p)
}

// RegisterObserver lets an observer see what this agent applies, from the next
// change on, and also after restarts of the agent. Registering an observer again
// has no effect. A filter may call it.
func (a *Agent) RegisterObserver(o *Observer) { a.config.Observers.Register(o) }

// UnregisterObserver ends that: nothing is sent to its channel after it returns.
// It has no effect on an observer that is not registered. A filter may call it.
func (a *Agent) UnregisterObserver(o *Observer) { a.config.Observers.Unregister(o) }

// Status returns the state of the agent and of its cluster, as known to this
// agent.
func (a *Agent) Status() interrex.Status {
	r := a.running()
	if r == nil {
		return interrex.Status{ID: a.config.ID, State: interrex.Stopped}
	}
	return r.set.Status()
}

// Leadership begins a watch of who leads: it starts with the current state,
// coalesces changes, and carries the term.
func (a *Agent) Leadership() (*leadership.Watch, error) {
	r := a.running()
	if r == nil {
		return nil, ErrStopped
	}
	return r.set.Leadership.Watch(), nil
}

// Handler is the API, for your own mux. Every caller that reaches it is treated
// as the operator. The Go client, gRPC and streams need a server that speaks
// HTTP/2: an http.Server does over TLS, and without TLS if SetUnencryptedHTTP2 of
// its Protocols is on. JSON works over HTTP/1.1.
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

// Report returns the current state of the dependency engine.
func (a *Agent) Report() map[string]any {
	if r := a.running(); r != nil {
		return r.set.Report(r.engine)
	}
	return map[string]any{"state": "stopped"}
}

// Reload applies the configuration that Config.Load reads, and returns the names
// of the sections that have changed. Only their workers are restarted. The
// configuration is checked first: on an error, which has a line for each problem,
// nothing changes.
func (a *Agent) Reload() ([]string, error) {
	r := a.running()
	if r == nil {
		return nil, ErrStopped
	}
	return r.set.Reload(context.Background())
}
