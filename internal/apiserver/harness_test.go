package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
)

// raft never answers entries that it applies while it shuts down
// (hashicorp/raft#145); the error of those who wait is the same.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"),
		// The error of an interrupted transfer (hashicorp/raft#696).
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
}

// node is the part of an agent that the API needs: a real raft in memory, with
// everything between it and the server.
type node struct {
	t       testing.TB
	id      string
	raft    *raft.Raft
	state   *machine.State
	leases  *lease.Table
	things  *resource.Table
	changes *change.Table
	hooks   *webhook.Table
	ring    *watch.Ring
	queue   *queue.Queue
	applier *leaseapplier.Applier
	tracker *leadership.Tracker
	engine  *fakeEngine
	server  *Server
	url     string // of the public API
	socket  string // of what the socket serves
	peer    string // of what the cluster port serves
	http    *http.Client
	streams sync.Map // by peer URL
}

// cluster starts agents a, b, ... that know each other, and waits for a leader.
func cluster(t testing.TB, n int, edit ...func(*Config)) []*node {
	t.Helper()
	nodes := make([]*node, n)
	transports := make([]*raft.InmemTransport, n)
	var servers []raft.Server
	for i := range nodes {
		nodes[i] = &node{t: t, id: string(rune('a' + i)), tracker: new(leadership.Tracker), engine: &fakeEngine{}}
		addr, transport := raft.NewInmemTransport(raft.ServerAddress(nodes[i].id))
		transports[i] = transport
		servers = append(servers, raft.Server{ID: raft.ServerID(nodes[i].id), Address: addr})
	}
	for i, a := range transports {
		for j, b := range transports {
			if i != j {
				a.Connect(servers[j].Address, b)
			}
		}
	}
	for i, nd := range nodes {
		nd.start(transports[i], servers, nodes, edit)
	}
	leader(t, nodes)
	return nodes
}

// leader waits until some agent leads, and returns it.
func leader(t testing.TB, nodes []*node) (found *node) {
	t.Helper()
	nodes[0].waitFor(func() bool {
		for _, nd := range nodes {
			if nd.tracker.Current().Leader {
				found = nd
			}
		}
		return found != nil
	})
	return found
}

func (nd *node) start(transport raft.Transport, servers []raft.Server, all []*node, edit []func(*Config)) {
	nd.leases, nd.things, nd.hooks = lease.New(), resource.New(), webhook.New()
	nd.changes = change.New()
	nd.ring = watch.New(watch.Config{})
	nd.ring.Publish(nil, 1) // so that a watch since 1 is not one from the future
	nd.t.Cleanup(nd.ring.Close)
	st, err := machine.New(machine.Config{Tables: []state.Table{nd.leases, nd.things, nd.hooks, nd.changes, testtable.NewRegister()}, Publisher: nd.ring})
	nd.must(err)
	nd.state = st
	nd.t.Cleanup(st.Close)
	nd.queue, err = queue.New(queue.Config{Clock: clock.WallClock})
	nd.must(err)
	nd.t.Cleanup(func() { nd.queue.Kill(); _ = nd.queue.Wait() })

	nd.startServer(all, edit)
	nd.startRaft(transport, servers, all)
}

func (nd *node) startRaft(transport raft.Transport, servers []raft.Server, all []*node) {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(nd.id)
	c.HeartbeatTimeout, c.ElectionTimeout = 100*time.Millisecond, 100*time.Millisecond
	c.LeaderLeaseTimeout, c.CommitTimeout = 60*time.Millisecond, 5*time.Millisecond
	c.Logger = hclog.NewNullLogger()
	logs := raft.NewInmemStore()
	snapshots := raft.NewInmemSnapshotStore()
	nd.must(raft.BootstrapCluster(c, logs, logs, snapshots, transport, raft.Configuration{Servers: servers}))
	r, err := raft.NewRaft(c, nd.state, logs, logs, snapshots, transport)
	nd.must(err)
	nd.raft = r
	nd.applier, err = leaseapplier.NewApplier(leaseapplier.Config{
		Raft: r, Queue: nd.queue, State: nd.state, Clock: clock.WallClock, Logger: silent.Logger{},
		Address: func(id string) string { return addressOf(all, id) },
	})
	nd.must(err)
	stop := make(chan struct{})
	changes := make(chan raft.Observation, 256)
	observer := raft.NewObserver(changes, false, nil)
	r.RegisterObserver(observer)
	var watching sync.WaitGroup
	watching.Go(func() { nd.follow(changes, stop, all) })
	nd.t.Cleanup(func() {
		nd.applier.Kill()
		_ = nd.applier.Wait()
		_ = r.Shutdown().Error()
		close(stop)
		watching.Wait()
		r.DeregisterObserver(observer)
	})
}

// follow passes raft's observations to the tracker and the applier.
func (nd *node) follow(changes <-chan raft.Observation, stop <-chan struct{}, all []*node) {
	for {
		_, id := nd.raft.LeaderWithID()
		nd.tracker.Set(interrex.Leadership{
			Term: nd.raft.CurrentTerm(), LeaderID: string(id), LeaderAddress: addressOf(all, string(id)),
			Leader: nd.raft.State() == raft.Leader, Ready: nd.raft.State() == raft.Leader,
		})
		nd.applier.LeadershipChanged()
		select {
		case <-changes:
		case <-time.After(20 * time.Millisecond): // raft sets some of these after it has told of them
		case <-stop:
			return
		}
	}
}

func addressOf(all []*node, id string) string {
	for _, nd := range all {
		if nd.id == id {
			return nd.url
		}
	}
	return ""
}

func (nd *node) startServer(all []*node, edit []func(*Config)) {
	config := Config{
		ID: nd.id, Version: "test",
		State: nd.state, Queue: nd.queue, Ring: nd.ring,
		Leadership:     nd.tracker,
		NextLeadership: func() func(context.Context) (interrex.Leadership, error) { return nd.tracker.Watch().Next },
		Reads:          func() (consistency.Reads, bool) { return barrier{nd.raft}, true },
		Forward:        func(_ context.Context, id string) (operations.Forwarder, error) { return nd.forwarder(all, id) },
		Engine:         nd.engine,
		Clock:          clock.WallClock, Logger: silent.Logger{},
	}
	config.Webhooks = &services.Webhooks{Table: nd.hooks}
	config.Leases = &services.Leases{Table: nd.leases, Feed: nd.changes, Waiting: func(k interrex.Key) (int, bool) {
		return nd.applier.Waiting(k), nd.tracker.Current().Leader
	}}
	config.Resources = &services.Resources{Table: nd.things}
	config.Changes = &services.Changes{Table: nd.changes}
	for _, fn := range edit {
		fn(&config)
	}
	s, err := New(config)
	nd.must(err)
	nd.server = s
	nd.http = h2c()
	nd.t.Cleanup(nd.http.CloseIdleConnections)
	nd.url = "http://" + nd.listen(s.Handler())
	nd.socket = "http://" + nd.listen(s.SocketHandler())
	nd.peer = "http://" + nd.listen(s.PeerHandler())
}

func (nd *node) listen(h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	nd.must(err)
	w, err := listener.New(listener.Config{Listener: l, Handler: h, Logger: silent.Logger{}, StopTimeout: 50 * time.Millisecond})
	nd.must(err)
	nd.t.Cleanup(func() {
		w.Kill()
		if err := w.Wait(); err != nil {
			nd.t.Error(err)
		}
	})
	return l.Addr().String()
}

// forwarder returns one stream for each agent.
func (nd *node) forwarder(all []*node, id string) (operations.Forwarder, error) {
	for _, other := range all {
		if other.id != id {
			continue
		}
		if s, found := nd.streams.Load(id); found {
			return s.(operations.Forwarder), nil
		}
		s, err := callstream.New(callstream.Config{HTTP: nd.http, BaseURL: other.peer})
		if err != nil {
			return nil, err
		}
		if first, found := nd.streams.LoadOrStore(id, s); found {
			_ = s.Close()
			return first.(operations.Forwarder), nil
		}
		nd.t.Cleanup(func() { _ = s.Close() })
		return s, nil
	}
	return nil, interrex.Errorf(interrex.ErrUnavailable, "nobody is called %s", id)
}

func (nd *node) must(err error) {
	nd.t.Helper()
	if err != nil {
		nd.t.Fatal(err)
	}
}

// h2c speaks cleartext HTTP/2.
func h2c() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}}
}

// barrier implements strong reads with a barrier, which is expensive but simple.
type barrier struct{ raft *raft.Raft }

func (b barrier) Index(context.Context) (uint64, error) {
	if err := b.raft.VerifyLeader().Error(); err != nil {
		return 0, interrex.Errorf(interrex.ErrNotLeader, "%v", err)
	}
	return b.raft.CommitIndex(), nil
}

// fakeEngine is a fake of an agent's engine.
type fakeEngine struct {
	report  map[string]any
	status  interrex.Status
	err     error
	drained int
	left    int
	end     time.Time // until when the last drain may take
}

func (e *fakeEngine) Report() map[string]any                   { return e.report }
func (e *fakeEngine) Status() interrex.Status                  { return e.status }
func (e *fakeEngine) Config() (string, error)                  { return "agent: {id: a}\n", e.err }
func (e *fakeEngine) Reload(context.Context) ([]string, error) { return []string{"logging"}, e.err }

func (e *fakeEngine) Leave(context.Context, bool) error {
	e.left++
	return nil
}

func (e *fakeEngine) Drain(ctx context.Context) error {
	e.drained++
	e.end, _ = ctx.Deadline()
	return e.err
}

// reply is what curl would see.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

// curl posts JSON with HTTP/1.1, as curl does.
func (nd *node) curl(method, body string) reply {
	nd.t.Helper()
	return nd.post(nd.url+"/interrex.v1."+method, "application/json", []byte(body))
}

func (nd *node) post(url, contentType string, body []byte) reply {
	nd.t.Helper()
	r, err := http.NewRequestWithContext(nd.t.Context(), http.MethodPost, url, bytes.NewReader(body))
	nd.must(err)
	r.Header.Set("Content-Type", contentType)
	return nd.send(r)
}

func (nd *node) get(url string) reply {
	nd.t.Helper()
	r, err := http.NewRequestWithContext(nd.t.Context(), http.MethodGet, url, nil)
	nd.must(err)
	return nd.send(r)
}

func (nd *node) send(r *http.Request) reply {
	nd.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	nd.must(err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	nd.must(err)
	out := reply{status: answer.StatusCode, header: answer.Header, body: string(text)}
	_ = json.Unmarshal(text, &out.json)
	return out
}

// at returns a part of the JSON.
func (r reply) at(path ...any) any {
	var v any = r.json
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// kind returns the kind in the detail of an error.
func (r reply) kind() any { return r.at("details", 0, "debug", "kind") }

// call makes one operation as an operator's unary call, and returns its answer or its
// error.
func (nd *node) call(ctx context.Context, in *interrexv1.Operation) (*interrexv1.Answer, error) {
	m := nd.server.methods.Methods[in.GetMethod()]
	message, err := m.Decode(in.GetBody())
	nd.must(err)
	fields := message.ProtoReflect().Descriptor().Fields()
	set := func(name protoreflect.Name, v protoreflect.Value, is bool) {
		if is {
			message.ProtoReflect().Set(fields.ByName(name), v)
		}
	}
	set("request_id", protoreflect.ValueOf(in.GetRequestId()), in.GetRequestId() != "")
	set("attempt", protoreflect.ValueOf(in.GetAttempt()), in.GetAttempt() != 0)
	set("wait", protoreflect.ValueOf(durationpb.New(time.Duration(in.GetWaitMs())*time.Millisecond).ProtoReflect()), in.GetWaitMs() != 0)
	set("fence", protoreflect.ValueOf(in.GetFence().ProtoReflect()), in.GetFence() != nil)
	answer, err := nd.server.operator.Do(ctx, m.Procedure, message)
	if err != nil {
		return nil, err
	}
	body, err := proto.Marshal(answer)
	return &interrexv1.Answer{Result: &interrexv1.Answer_Body{Body: body}}, err
}

// op is one operation of a stream.
func op(id uint64, procedure string, m proto.Message) *interrexv1.Operation {
	method, err := wire.MethodOf(procedure)
	if err != nil {
		panic(err)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return &interrexv1.Operation{Id: id, Method: method.Number, Body: body}
}

// claimed claims a lease and returns its token.
func (nd *node) claimed(key, holder string) uint64 {
	nd.t.Helper()
	a, err := nd.call(nd.t.Context(), claimOp(0, key, holder))
	nd.must(err)
	return as[interrexv1.ClaimResponse](nd.t, a).GetLease().GetToken()
}

// as decodes an answer.
func as[A any, PA wire.Message[A]](t testing.TB, a *interrexv1.Answer) PA {
	t.Helper()
	if e := a.GetError(); e != nil {
		t.Fatalf("got %v", e)
	}
	m := PA(new(A))
	if err := proto.Unmarshal(a.GetBody(), m); err != nil {
		t.Fatal(err)
	}
	return m
}
