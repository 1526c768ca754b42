package raftworker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/leadership"
)

// clusterOf starts agents that know each other from the start, over TLS on
// loopback.
func clusterOf(t *testing.T, ids ...string) map[string]*running {
	return startCluster(t, nil, ids...)
}

// startCluster lets wire change an agent before it starts.
func startCluster(t *testing.T, wire func(*agent, *peering.Transport), ids ...string) map[string]*running {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*running{}
	var join []string
	for _, id := range ids {
		a := newAgent(t, id, ids...)
		tr := newTransport(t, ca, id, join)
		join = append(join, tr.ListenAddr())
		a.cfg.Transport = intercepted(a, transportOf(tr, a.log))
		slowly(&a.cfg)
		if wire != nil {
			wire(a, tr)
		}
		all[id] = &running{agent: a, w: a.start()}
	}
	stands(all[ids[0]], all[ids[1]])
	return all
}

// slowly sets an agent's timeouts to ones that hold on a slow machine: a leader stays
// leader when its followers are late by a second.
func slowly(cfg *Config) {
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 4*time.Second, 4*time.Second, 3*time.Second
	cfg.writeTimeout, cfg.handoverTimeout = time.Minute, 10*time.Second
}

// stands makes an agent of a new cluster a candidate at once, at another's request,
// in place of waiting for its timeouts. It need not be elected: then the timeouts
// decide, as when the agents do not know their cluster yet.
func stands(r, by *running) {
	to := r.cfg.LocalID
	if len(r.w.life.raft.GetConfiguration().Configuration().Servers) == 0 {
		return
	}
	_ = by.w.life.transport.TimeoutNow(to, raft.ServerAddress(to),
		&raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(by.cfg.LocalID), Addr: []byte(by.cfg.LocalID)}}, new(raft.TimeoutNowResponse))
}

type running struct {
	*agent
	w *Worker
}

func newTransport(t *testing.T, ca *certificates.CA, id string, join []string) *peering.Transport {
	t.Helper()
	tls, err := ca.TLS(id)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := peering.New(peering.Config{
		ID: id, TLS: tls, Listen: "127.0.0.1:0", Join: join, Clock: clock.WallClock, Logger: &testLog{},
		Hello: func() peering.Hello { return peering.Hello{Expect: 3, Incarnation: "of-" + id} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Kill(); tr.Wait() })
	return tr
}

// muted drops the entries that a leader sends, and keeps its heartbeats.
type muted struct {
	Transport
	answers
	on *atomic.Bool
}

func (m muted) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if m.on.Load() && len(args.Entries) > 0 {
		return errors.New("the follower's disk is stuck")
	}
	return m.Transport.AppendEntries(id, to, args, resp)
}

func intercepted(a *agent, make func(Rules) (Transport, error)) func(Rules) (Transport, error) {
	a.mute = new(atomic.Bool)
	return func(p Rules) (Transport, error) {
		tr, err := make(p)
		if err != nil {
			return nil, err
		}
		return muted{tr, tr.(answers), a.mute}, nil
	}
}

// stopAll stops agents together: the last one that is left would try to hand
// leadership over.
func stopAll(all map[string]*running) {
	for _, r := range all {
		r.w.Kill()
	}
	for _, r := range all {
		r.stop(r.w)
	}
}

// leader waits until one of them leads and is ready.
func leader(t *testing.T, all map[string]*running) *running {
	t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		for _, r := range all {
			if r.tracker.Current().Ready {
				return r
			}
		}
		time.Sleep(time.Millisecond) // a poll with an end, not a guess
	}
	t.Fatal("nobody leads")
	return nil
}

func TestAPoliteStopHandsLeadershipOver(t *testing.T) {
	all := clusterOf(t, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	id := first.state.Identity()
	delete(all, string(first.cfg.LocalID))
	timeouts := electionTimeouts(all)
	start := time.Now()
	first.w.Kill()
	second := leader(t, all)
	second.put(second.w, "two")
	took := time.Since(start)
	if electionTimeouts(all) != timeouts {
		t.Error("a follower had to notice by its timeout that the leader had gone")
	}
	for _, r := range all {
		if r != second {
			r.until("last contact", func() bool { return r.w.Report()["last-contact"] != nil })
		}
	}
	if first.applier.ticks.Load() != 1 {
		t.Error("no last stamp was written")
	}
	if err := first.w.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the next write was answered after %s", took)
	for _, line := range first.log.all() {
		if strings.HasPrefix(line, "ERROR") {
			t.Errorf("a polite stop says %s", line)
		}
	}
	if second.state.Identity().ClusterID != id.ClusterID {
		t.Error("another cluster")
	}
	stopAll(all)
}

// electionTimeouts counts how often agents campaigned for lack of heartbeats.
func electionTimeouts(all map[string]*running) (n int) {
	for _, r := range all {
		for _, line := range r.log.all() {
			if strings.Contains(line, "heartbeat timeout reached") {
				n++
			}
		}
	}
	return n
}

func TestLeadershipIsHandedOverWithALastStampBefore(t *testing.T) {
	all := clusterOf(t, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	deadline := time.Now().Add(within)
	for err := first.w.HandOver(t.Context(), ""); err != nil; err = first.w.HandOver(t.Context(), "") {
		if time.Now().After(deadline) { // raft bounds each try by an election timeout
			t.Fatal(err)
		}
	}
	if first.applier.ticks.Load() == 0 {
		t.Error("no last stamp was written while it led")
	}
	delete(all, string(first.cfg.LocalID))
	second := leader(t, all)
	second.put(second.w, "two")
	if n := second.applier.ticks.Load(); n != 0 {
		t.Errorf("the next leader has written %d", n)
	}
	all[string(first.cfg.LocalID)] = first // it continues
	stopAll(all)
}

// steps are those of a stop, in their order.
type steps struct {
	mu  sync.Mutex
	all []string
}

func (s *steps) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, fmt.Sprintf(format, args...))
}

type steppedApplier struct {
	*testApplier
	*steps
	tracker *leadership.Tracker
}

func (a steppedApplier) FinalTick(context.Context) error {
	a.add("stamp of a %s, ready: %v", a.raft.State(), a.tracker.Current().Ready)
	return nil
}

func (a steppedApplier) Kill() {
	a.add("the applier ends at a %s", a.raft.State())
	a.testApplier.Kill()
}

type steppedTransport struct {
	Transport
	*steps
	raft func() *raft.Raft
}

func (s steppedTransport) Drain() {
	s.add("drain of a %s", s.raft().State())
	s.Transport.Drain()
}

func (s steppedTransport) Close() error {
	s.add("the transport ends")
	return s.Transport.Close()
}

func TestAPoliteStopHasAnOrder(t *testing.T) {
	stops := map[string]*steps{}
	all := startCluster(t, func(a *agent, _ *peering.Transport) {
		s, make := &steps{}, a.cfg.Transport
		stops[string(a.cfg.LocalID)] = s
		var applier *testApplier
		a.cfg.Transport = func(l Rules) (Transport, error) {
			tr, err := make(l)
			return steppedTransport{tr, s, func() *raft.Raft { return applier.raft }}, err
		}
		a.cfg.NewApplier = func(r *raft.Raft, _ *queue.Queue) (leaseapplier.LeaseApplier, error) {
			applier = newTestApplier(r)
			return steppedApplier{applier, s, a.tracker}, nil
		}
	}, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	first.stop(first.w)
	want := []string{
		"stamp of a Leader, ready: false", "the applier ends at a Follower", "drain of a Follower", "the transport ends",
	}
	if got := slices.Compact(stops[first.name()].all); !slices.Equal(got, want) {
		t.Errorf("it stops so: %q", got)
	}
	if err := first.w.life.dir.StoreLogs(nil); !errors.Is(err, disk.ErrClosed) {
		t.Errorf("the directory is open: %v", err)
	}
	delete(all, first.name())
	stopAll(all)
}

func TestALeaderThatCommitsNothingStepsDown(t *testing.T) {
	t.Parallel() // it waits for elections
	all := clusterOf(t, "a", "b", "c")
	first := leader(t, all)
	first.stop(first.w)
	first.cfg.stallTimeout, first.cfg.handoverTimeout = 300*time.Millisecond, 300*time.Millisecond
	first.cfg.checkPeriod = 50 * time.Millisecond
	delete(all, string(first.cfg.LocalID))
	other := leader(t, all)
	all[string(first.cfg.LocalID)] = &running{agent: first.agent, w: first.start()}
	// It leads again, and its entries do not arrive anywhere, while its
	// heartbeats do: no agent would vote for another.
	r, err := other.w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	me := all[string(first.cfg.LocalID)]
	id := raft.ServerID(first.cfg.LocalID)
	other.until("transfer", func() bool {
		return me.tracker.Current().Ready || r.LeadershipTransferToServer(id, raft.ServerAddress(id)).Error() != nil && me.tracker.Current().Ready
	})
	me.mute.Store(true)
	stuck, err := me.w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	stuck.Apply(me.entry("lost?"), time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- me.w.Wait() }()
	for me.tracker.Current().Leader {
		select {
		case err := <-ended:
			if !errors.Is(err, errNoProgress) {
				t.Fatal(err)
			}
			ended <- err
		case <-ctx.Done():
			t.Fatalf("it still leads: %v", me.log.all())
		case <-time.After(5 * time.Millisecond):
		}
	}
	delete(all, string(first.cfg.LocalID))
	next := leader(t, all)
	next.put(next.w, "two")
	me.mute.Store(false)
	me.w.Kill()
	if err := me.w.Wait(); err != nil && !errors.Is(err, errNoProgress) {
		t.Error(err)
	}
	stopAll(all)
}

// A leader that always has uncommitted entries, and commits some, is healthy.
func TestALeaderThatCommitsIsLeftAlone(t *testing.T) {
	all := clusterOf(t, "a", "b", "c")
	first := leader(t, all)
	first.mute.Store(true)
	r := first.w.life.raft
	r.Apply(first.entry("under way"), 0)
	first.until("an entry under way", func() bool { return r.LastIndex() > r.CommitIndex() })
	g := newGuard(first.w.life)
	start := time.Now()
	for i := range 4 {
		g.committed = 1_000_000 + uint64(i) // another than now: it has gone on
		if err := g.checkProgress(start.Add(time.Duration(i) * time.Hour)); err != nil || g.yielding != nil {
			t.Errorf("after %d hours: %v, and it hands over: %v", i, err, g.yielding != nil)
		}
	}
	first.mute.Store(false)
	stopAll(all)
}

func TestAKilledLeaderHasASuccessorSoon(t *testing.T) {
	t.Parallel() // it waits for elections
	all := clusterOf(t, "a", "b", "c")
	first := leader(t, all)
	start := time.Now()
	// As SIGKILL: nothing is handed over, the streams just end.
	if err := errors.Join(first.w.life.transport.Close()); err != nil {
		t.Fatal(err)
	}
	delete(all, string(first.cfg.LocalID))
	second := leader(t, all)
	second.put(second.w, "two")
	took := time.Since(start)
	t.Logf("the next write was answered after %s", took)
	first.w.Kill()
	first.w.Wait()
	stopAll(all)
}

func TestTenWorkersLiveInOneProcess(t *testing.T) {
	registry := prometheus.NewRegistry()
	var all []*running
	for range 10 {
		a := newAgent(t, "a", "a")
		a.cfg.PrometheusRegisterer = prometheus.WrapRegistererWith(prometheus.Labels{"dir": a.cfg.StorageDir}, registry)
		all = append(all, &running{agent: a, w: a.start()})
	}
	for _, r := range all {
		r.leads()
	}
	for _, r := range all {
		r.stop(r.w)
	}
}

func TestAgentsThatExpectEachOtherMakeOneCluster(t *testing.T) {
	t.Parallel() // it waits for elections
	all := startCluster(t, func(a *agent, tr *peering.Transport) {
		a.cfg.Bootstrap = func() ([]string, bool, error) { return membership.Decide(tr.Self(), tr.Peers(), 3) }
		a.cfg.Incarnations = func() map[string]string {
			known := map[string]string{tr.ID(): tr.Self().Incarnation}
			for _, peer := range tr.Peers() {
				known[peer.ID] = peer.Incarnation
			}
			return known
		}
	}, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	id := first.state.Identity()
	for _, r := range all {
		r.until("the same identity", func() bool { return r.state.Identity().ClusterID == id.ClusterID })
	}
	if len(id.Incarnations) != 3 || id.Incarnations["b"] != "of-b" {
		t.Errorf("%+v", id)
	}
	stopAll(all)
}
