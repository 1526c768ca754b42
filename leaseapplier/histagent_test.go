package leaseapplier_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
)

// skewed is a clock that runs at a rate of its own.
type skewed struct {
	clock.Clock
	start time.Time
	rate  float64
}

func (c skewed) scale(d time.Duration) time.Duration { return time.Duration(float64(d) / c.rate) }
func (c skewed) Now() time.Time {
	return c.start.Add(time.Duration(float64(time.Since(c.start)) * c.rate))
}
func (c skewed) NewTimer(d time.Duration) clock.Timer {
	return scaledTimer{c.Clock.NewTimer(c.scale(d)), c}
}
func (c skewed) AfterFunc(d time.Duration, f func()) clock.Timer {
	return scaledTimer{c.Clock.AfterFunc(c.scale(d), f), c}
}

type scaledTimer struct {
	clock.Timer
	c skewed
}

func (t scaledTimer) Reset(d time.Duration) bool { return t.Timer.Reset(t.c.scale(d)) }

// holders is a skewed clock as holders read it.
type holdersClock struct{ skewed }

func (c holdersClock) Now() time.Duration { return c.skewed.Now().Sub(c.start) }

// agent is one agent: everything of it but raft and the disk.
type agent struct {
	*member
	h       *history
	clock   clock.Clock
	leases  *lease.Table
	ring    *watch.Ring
	queue   *queue.Queue
	applier *leaseapplier.Applier
	tracker *leadership.Tracker
	server  *apiserver.Server
	doors   []*listener.Listener
	http    *http.Client

	mu      sync.Mutex
	streams map[string]*callstream.Stream
}

func (h *history) newAgent(id string) *agent {
	a := &agent{h: h, clock: skewed{clock.WallClock, time.Now(), h.rate()}, streams: map[string]*callstream.Stream{}}
	a.leases, a.ring, a.tracker = lease.New(), watch.New(watch.Config{}), new(leadership.Tracker)
	hooks := webhook.New()
	st, err := machine.New(machine.Config{Tables: []state.Table{a.leases, hooks}, Publisher: publisher{a.ring, h.rules}, Clock: a.clock})
	h.must(err)
	a.member = &member{log: h.log, id: id, state: st, wake: make(chan struct{}, 1), stop: make(chan struct{}), told: a.follow}
	a.queue, err = queue.New(queue.Config{Clock: a.clock})
	h.must(err)
	a.startApplier()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	a.http = &http.Client{Transport: &http.Transport{Protocols: protocols, DialContext: h.net.dialer(id)}}
	a.server, err = apiserver.New(apiserver.Config{
		ID: id, State: st, Leases: &services.Leases{Table: a.leases}, Webhooks: &services.Webhooks{Table: hooks}, Visitors: new(operations.Visitors), Queue: a.queue, Ring: a.ring, Leadership: a.tracker,
		NextLeadership: func() func(context.Context) (interrex.Leadership, error) { return a.tracker.Watch().Next },
		Reads:          func() (consistency.Reads, bool) { return nil, false },
		Forward:        a.forward, Engine: noEngine{}, Clock: a.clock, Logger: silent.Logger{},
	})
	h.must(err)
	for name, handler := range map[string]http.Handler{id: a.server.Handler(), id + "-peer": a.server.PeerHandler()} {
		l, err := listener.New(listener.Config{Listener: h.net.listen(name), Handler: handler, Logger: silent.Logger{}, StopTimeout: 10 * time.Millisecond})
		h.must(err)
		a.doors = append(a.doors, l)
	}
	go a.run()
	return a
}

func (a *agent) startApplier() {
	made, err := leaseapplier.NewApplier(leaseapplier.Config{
		Raft: a.member, Queue: tap{a.queue, a.member}, State: a.state, Clock: a.clock, Logger: silent.Logger{},
	})
	a.h.must(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applier = made
}

// restart is what comes of a failure within the agent: state and queue live on.
func (a *agent) restart() {
	a.applier.Kill()
	a.h.must(a.applier.Wait())
	a.startApplier()
}

func (a *agent) forward(_ context.Context, id string) (operations.Forwarder, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.streams[id]; s != nil {
		return s, nil
	}
	s, err := callstream.New(callstream.Config{HTTP: a.http, BaseURL: "http://" + id + "-peer"})
	a.streams[id] = s
	return s, err
}

// follow informs the parts of the agent of the leader.
func (a *agent) follow() {
	a.member.log.mu.Lock()
	l := interrex.Leadership{Term: a.term, LeaderID: a.leader, Leader: a.role == raft.Leader}
	a.member.log.mu.Unlock()
	a.tracker.Set(l)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applier.LeadershipChanged()
}

func (a *agent) close() {
	for _, s := range a.streams {
		_ = s.Close()
	}
	for _, d := range a.doors {
		d.Kill()
		_ = d.Wait()
	}
	a.http.CloseIdleConnections()
	a.applier.Kill()
	if err := a.applier.Wait(); err != nil {
		a.h.t.Error(err)
	}
	a.member.log.mu.Lock()
	a.member.follow()
	a.member.log.mu.Unlock()
	a.queue.Kill()
	a.h.must(a.queue.Wait())
	close(a.stop)
	a.state.Close()
	a.ring.Close()
}

// noEngine is an engine that is never asked.
type noEngine struct{}

var errNoEngine = errors.New("there is no engine")

func (noEngine) Report() map[string]any                   { return nil }
func (noEngine) Status() interrex.Status                  { return interrex.Status{} }
func (noEngine) Config() (string, error)                  { return "", errNoEngine }
func (noEngine) Reload(context.Context) ([]string, error) { return nil, errNoEngine }
func (noEngine) Drain(context.Context) error              { return errNoEngine }
func (noEngine) Leave(context.Context, bool) error        { return errNoEngine }
