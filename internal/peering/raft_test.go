package peering

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/peerlogs"
)

// node is one agent with raft on it, over real TLS.
type node struct {
	transport *Transport
	streams   RaftTransport
	raft      *raft.Raft
	store     *closableStore
	fsm       *raft.MockFSM
	snaps     raft.SnapshotStore
}

// closableStore is a log and stable store that, like one on disk, must not be
// used once it is closed.
type closableStore struct {
	*raft.InmemStore
	closed  atomic.Bool
	misused *atomic.Bool
}

func (s *closableStore) note() {
	if s.closed.Load() {
		s.misused.Store(true)
	}
}

func (s *closableStore) SetUint64(key []byte, v uint64) error {
	s.note()
	return s.InmemStore.SetUint64(key, v)
}

func (s *closableStore) GetLog(index uint64, l *raft.Log) error {
	s.note()
	return s.InmemStore.GetLog(index, l)
}

func (s *closableStore) StoreLogs(l []*raft.Log) error {
	s.note()
	return s.InmemStore.StoreLogs(l)
}

// answering is a life that answers in raft's place, and follows what raft gets.
type answering struct {
	free
	answer  func(request any) (response any, err error, answered bool)
	handing func(request any) func()
}

func (a answering) Answer(request any) (any, error, bool) { return a.answer(request) }
func (a answering) Handing(request any) func()            { return a.handing(request) }

// start begins a life of raft over what is stored.
func (n *node) start(t *testing.T) {
	t.Helper()
	n.store.closed.Store(false)
	streams, err := n.transport.Raft(RaftConfig{})
	if err != nil {
		t.Fatal(err)
	}
	n.streams, n.fsm = streams, &raft.MockFSM{}
	r, err := raft.NewRaft(raftConfig(n.transport.ID()), n.fsm, n.store, n.store, n.snaps, streams)
	if err != nil {
		t.Fatal(err)
	}
	n.raft = r
}

// end is the order in which a life of raft must end.
func (n *node) end(t *testing.T) {
	t.Helper()
	n.streams.Drain()
	if err := n.raft.Shutdown().Error(); err != nil {
		t.Errorf("cannot shut %s down: %v", n.transport.ID(), err)
	}
	n.store.closed.Store(true)
	if err := n.streams.Close(); err != nil {
		t.Error(err)
	}
}

func raftConfig(id string) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	c.CommitTimeout = 5 * time.Millisecond
	c.Logger = hclog.NewNullLogger()
	return c
}

type cluster struct {
	*world
	nodes   []*node
	misused atomic.Bool
}

// newCluster starts n agents that know each other, with raft bootstrapped.
func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{world: newWorld(t)}
	var servers []raft.Server
	for i := range n {
		id := string(rune('a' + i))
		tr, _ := c.agent(id, func(config *Config) {
			for _, other := range c.nodes {
				joining(other.transport)(config)
			}
		})
		store := &closableStore{InmemStore: raft.NewInmemStore(), misused: &c.misused}
		c.nodes = append(c.nodes, &node{transport: tr, store: store, snaps: raft.NewInmemSnapshotStore()})
		servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	for _, node := range c.nodes {
		eventually(t, "all have met", func() bool { return len(node.transport.Peers()) == n-1 })
		node.start(t)
		t.Cleanup(func() { node.end(t) })
	}
	if err := c.nodes[0].raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) leader() *node {
	c.Helper()
	var leader *node
	eventually(c.T, "there is a leader", func() bool {
		for _, n := range c.nodes {
			if n.raft.State() == raft.Leader && n.raft.VerifyLeader().Error() == nil {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

func (c *cluster) apply(text string) {
	c.Helper()
	eventually(c.T, "an entry is committed", func() bool {
		return c.leader().raft.Apply([]byte(text), 5*time.Second).Error() == nil
	})
}

func TestRaftRunsOverTLSUnderItsAgentsIDs(t *testing.T) {
	c := newCluster(t, 3)
	c.apply("one")
	leader := c.leader()
	for _, n := range c.nodes {
		eventually(t, n.transport.ID()+" knows the leader by its ID", func() bool {
			address, id := n.raft.LeaderWithID()
			return string(address) == leader.transport.ID() && string(id) == leader.transport.ID()
		})
		eventually(t, "the entry is everywhere", func() bool { return len(n.fsm.Logs()) == 1 })
	}
	for _, n := range c.nodes {
		if n == leader {
			continue
		}
		changed := leader.streams.AckChanged()
		began := time.Now()
		eventually(t, "a newer answer is noted in the leader's term", func() bool {
			<-changed
			changed = leader.streams.AckChanged()
			sent, term := leader.streams.LastAck(raft.ServerID(n.transport.ID()))
			return sent.After(began) && term == leader.raft.CurrentTerm()
		})
		eventually(t, "its log matches the leader's", func() bool {
			return leader.streams.MatchIndex(raft.ServerID(n.transport.ID()), leader.raft.CurrentTerm()) == leader.raft.LastIndex()
		})
	}
}

// A voter that returns from a partition requests pre-votes before it raises its term;
// without RequestPreVote on the transport raft disables that with a line in its log.
func TestPreVoteIsKept(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	streams, err := a.Raft(RaftConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	config := raftConfig("a")
	config.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn, Mutex: &sync.Mutex{}})
	store := raft.NewInmemStore()
	r, err := raft.NewRaft(config, &raft.MockFSM{}, store, store, raft.NewInmemSnapshotStore(), streams)
	if err != nil {
		t.Fatal(err)
	}
	streams.Drain()
	if err := r.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "pre-vote is disabled") {
		t.Error(log.String())
	}

	b, _ := w.agent("b")
	c, _ := w.agent("c", func(config *Config) { config.Peers = map[string]string{"b": b.ListenAddr()} })
	to, from := must(b.Raft(RaftConfig{})), must(c.Raft(RaftConfig{}))
	go func() {
		rpc := <-to.Consumer()
		rpc.Respond(&raft.RequestPreVoteResponse{Term: rpc.Command.(*raft.RequestPreVoteRequest).Term, Granted: true}, nil)
	}()
	ask := &raft.RequestPreVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("c"), Addr: []byte("c")}, Term: 7}
	var answer raft.RequestPreVoteResponse
	if err := from.RequestPreVote("b", "b", ask, &answer); err != nil || !answer.Granted || answer.Term != 7 {
		t.Errorf("asked for a pre-vote in term 7: %+v, %v", answer, err)
	}
}

func TestPipelineIsNotOffered(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	streams, err := a.Raft(RaftConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := streams.AppendEntriesPipeline("b", "b"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("got %v", err)
	}
}

// hashicorp/raft#717: one agent is started and stopped over and over under the
// heartbeats of its leader, and its closed store must never be touched.
func TestNoHeartbeatReachesAClosedStore(t *testing.T) {
	c := newCluster(t, 3)
	c.apply("one")
	for i := range 30 {
		n := c.nodes[i%len(c.nodes)]
		n.end(t)
		n.start(t)
		if i%6 == 0 {
			c.apply(fmt.Sprint(i))
		}
	}
	if c.misused.Load() {
		t.Error("a store was used after it had been closed")
	}
}

func TestDrainWaitsForTheHeartbeatInTheHandler(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to, from := must(a.Raft(RaftConfig{})), must(b.Raft(RaftConfig{}))
	entered, leave := make(chan struct{}), make(chan struct{})
	var handled atomic.Int32
	to.SetHeartbeatHandler(func(rpc raft.RPC) {
		handled.Add(1)
		entered <- struct{}{}
		<-leave
		rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
	})
	beat := func() error {
		req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("b"), Addr: []byte("b")}, Term: 1}
		return from.AppendEntries("a", "a", req, &raft.AppendEntriesResponse{})
	}
	first := make(chan error, 1)
	go func() { first <- beat() }()
	<-entered
	drained := make(chan struct{})
	go func() { to.Drain(); close(drained) }()
	refused := make(chan error, 1) // by a transport that drains: requests that reach raft are not taken
	go func() {
		refused <- from.RequestVote("a", "a", &raft.RequestVoteRequest{RPCHeader: headerOf("b"), Term: 1}, &raft.RequestVoteResponse{})
	}()
	select {
	case <-drained:
		t.Error("Drain returned while a heartbeat was in the handler")
	case <-refused:
	}
	select {
	case <-drained:
		t.Error("Drain returned while a heartbeat was in the handler")
	default:
	}
	close(leave)
	<-drained
	if err := <-first; err != nil {
		t.Errorf("the heartbeat that was inside failed: %v", err)
	}
	if err := beat(); err == nil || !strings.Contains(err.Error(), raft.ErrRaftShutdown.Error()) {
		t.Errorf("a heartbeat after Drain got %v", err)
	}
	if n := handled.Load(); n != 1 {
		t.Errorf("%d heartbeats reached raft, want 1", n)
	}
}

func TestNoRequestReachesRaftAfterDrain(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to, from := must(a.Raft(RaftConfig{})), must(b.Raft(RaftConfig{}))
	to.Drain()
	reached := make(chan bool)
	go func() { // raft's main loop, which still turns
		n := false
		for {
			select {
			case rpc := <-to.Consumer():
				n = true
				rpc.Respond(&raft.RequestVoteResponse{Term: 1}, nil)
			case <-a.raft.in.Done():
				reached <- n
				return
			}
		}
	}()
	for range 20 {
		req := &raft.RequestVoteRequest{RPCHeader: headerOf("b"), Term: 1}
		if err := from.RequestVote("a", "a", req, &raft.RequestVoteResponse{}); err == nil {
			t.Error("a request was answered")
		}
	}
	_ = to.Close()
	if <-reached {
		t.Error("a request reached raft")
	}
}

// pair is two lives of raft that have met, b's to send and a's to get.
func pair(t *testing.T, of Life) (a, b *Transport, to, from RaftTransport) {
	w := newWorld(t)
	a, _ = w.agent("a")
	b, _ = w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to = must(a.Raft(RaftConfig{Life: &living{log: LogState{Life: "a1", Term: 3}}}))
	from = must(b.Raft(RaftConfig{Life: of}))
	return a, b, to, from
}

func fromB() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte("b"), Addr: []byte("b")}
}

func TestBothEndsOfAnAppendTakeUpWhatItSays(t *testing.T) {
	a, b, to, from := pair(t, &living{log: LogState{Life: "b1", Term: 3}})
	to.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Term: 9, Success: true}, nil) })
	go func() {
		rpc := <-to.Consumer()
		rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
	}()
	append := &raft.AppendEntriesRequest{
		RPCHeader: fromB(), Term: 3, PrevLogTerm: 3, PrevLogEntry: 49, LeaderCommitIndex: 40,
		Entries: []*raft.Log{{Term: 3, Index: 50}},
	}
	if err := from.AppendEntries("a", "a", append, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if is, _ := a.memory.Of("b"); is.Stored != (peerlogs.Place{Term: 3, Index: 50}) {
		t.Errorf("a remembers of b %+v", is)
	}
	if is, _ := b.memory.Of("a"); is.Stored != (peerlogs.Place{Term: 3, Index: 50}) {
		t.Errorf("b remembers of a %+v", is)
	}
	if got := to.Committed(3); got != 40 {
		t.Errorf("%d is committed, a says", got)
	}
	if err := from.AppendEntries("a", "a", &raft.AppendEntriesRequest{RPCHeader: fromB(), Term: 9}, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if is := remembers(a, "b"); is.Term != 9 {
		t.Errorf("after a heartbeat in term 9 a remembers of b %+v", is)
	}
}

// muzzled is a life that lets nothing leave.
type muzzled struct{ *living }

var errMuzzled = errors.New("nothing leaves here")

func (muzzled) MaySend(any) error { return errMuzzled }

func TestNothingLeavesThatMayNot(t *testing.T) {
	_, _, to, from := pair(t, muzzled{&living{log: LogState{Life: "b1", Term: 3}}})
	for name, err := range map[string]error{
		"an append":    from.AppendEntries("a", "a", &raft.AppendEntriesRequest{RPCHeader: fromB(), Term: 3, PrevLogEntry: 1}, &raft.AppendEntriesResponse{}),
		"a vote":       from.RequestVote("a", "a", &raft.RequestVoteRequest{RPCHeader: fromB(), Term: 3}, &raft.RequestVoteResponse{}),
		"a pre-vote":   from.RequestPreVote("a", "a", &raft.RequestPreVoteRequest{RPCHeader: fromB(), Term: 3}, &raft.RequestPreVoteResponse{}),
		"a snapshot":   from.InstallSnapshot("a", "a", &raft.InstallSnapshotRequest{RPCHeader: fromB(), Term: 3}, &raft.InstallSnapshotResponse{}, strings.NewReader("")),
		"a succession": from.TimeoutNow("a", "a", &raft.TimeoutNowRequest{RPCHeader: fromB()}, &raft.TimeoutNowResponse{}),
	} {
		if !errors.Is(err, errMuzzled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case rpc := <-to.Consumer():
		t.Errorf("%T has come", rpc.Command)
	default:
	}
}

func TestAnswerInALaterTermIsNoAck(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to, from := must(a.Raft(RaftConfig{})), must(b.Raft(RaftConfig{}))
	to.SetHeartbeatHandler(func(rpc raft.RPC) {
		rpc.Respond(&raft.AppendEntriesResponse{Term: 2}, nil)
	})
	req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("b"), Addr: []byte("b")}, Term: 1}
	if err := from.AppendEntries("a", "a", req, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if sent, _ := from.LastAck("a"); !sent.IsZero() {
		t.Error("an answer in term 2 counts for a request of term 1")
	}
	req.Term = 2
	if err := from.AppendEntries("a", "a", req, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if sent, term := from.LastAck("a"); sent.IsZero() || term != 2 {
		t.Errorf("got %v in term %d", sent, term)
	}
}

// A life's own answer to a snapshot reaches the sender as raft's would.
func TestASnapshotIsAnsweredInRaftsPlace(t *testing.T) {
	const index, term = 300, 4
	for _, c := range []struct {
		name     string
		answered bool
		response raft.InstallSnapshotResponse
		err      error
		match    uint64
	}{
		{"taken", true, raft.InstallSnapshotResponse{Term: term, Success: true}, nil, index},
		{"taken, not yet in its term", true, raft.InstallSnapshotResponse{Term: term - 1, Success: true}, nil, 0},
		{"refused", true, raft.InstallSnapshotResponse{Term: term}, errors.New("there is another entry"), 0},
		{"left to raft", false, raft.InstallSnapshotResponse{}, nil, index},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a, _ := w.agent("a")
			b, _ := w.agent("b", func(cfg *Config) { cfg.Peers = map[string]string{"a": a.ListenAddr()} })
			to := must(a.Raft(RaftConfig{Life: answering{
				answer:  func(any) (any, error, bool) { return &c.response, c.err, c.answered },
				handing: func(any) func() { return nil },
			}}))
			from := must(b.Raft(RaftConfig{}))
			var reached atomic.Bool
			handled := make(chan struct{})
			go func() {
				defer close(handled)
				select {
				case rpc := <-to.Consumer():
					reached.Store(true)
					_, _ = io.Copy(io.Discard, rpc.Reader)
					rpc.Respond(&raft.InstallSnapshotResponse{Term: term, Success: true}, nil)
				case <-a.raft.in.Done():
				}
			}()
			data := bytes.Repeat([]byte("x"), 16<<20) // more than the streams hold
			req := &raft.InstallSnapshotRequest{
				RPCHeader: headerOf("b"), SnapshotVersion: 1,
				Term: term, LastLogIndex: index, Size: int64(len(data)),
			}
			var resp raft.InstallSnapshotResponse
			err := from.InstallSnapshot("a", "a", req, &resp, bytes.NewReader(data))
			if c.err == nil && err != nil || c.err != nil && (err == nil || err.Error() != c.err.Error()) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if reached.Load() == c.answered {
				t.Errorf("reached raft: %v", reached.Load())
			}
			if c.err == nil && (!resp.Success || c.answered && resp.Term != c.response.Term) {
				t.Errorf("answered %+v", resp)
			}
			if got := from.MatchIndex("a", term); got != c.match {
				t.Errorf("its log is said to match up to %d, want %d", got, c.match)
			}
			_ = to.Close()
			<-handled
		})
	}
}

// While raft handles a request that a life follows, nothing else reaches raft.
func TestNothingReachesRaftWhileARequestIsFollowed(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(cfg *Config) { cfg.Peers = map[string]string{"a": a.ListenAddr()} })
	over := make(chan struct{})
	to := must(a.Raft(RaftConfig{Life: answering{
		answer: func(any) (any, error, bool) { return nil, nil, false },
		handing: func(request any) func() {
			if _, append := request.(*raft.AppendEntriesRequest); append {
				return func() { close(over) }
			}
			return nil
		},
	}}))
	from := must(b.Raft(RaftConfig{}))
	answers := make(chan error, 2)
	go func() {
		var resp raft.AppendEntriesResponse
		answers <- from.AppendEntries("a", "a", &raft.AppendEntriesRequest{RPCHeader: headerOf("b"), Term: 4, PrevLogEntry: 7, PrevLogTerm: 4}, &resp)
	}()
	followed := <-to.Consumer()
	go func() {
		var resp raft.RequestVoteResponse
		answers <- from.RequestVote("a", "a", &raft.RequestVoteRequest{RPCHeader: headerOf("b"), Term: 5}, &resp)
	}()
	select {
	case rpc := <-to.Consumer():
		t.Fatalf("%T reached raft", rpc.Command)
	case <-over:
		t.Fatal("it is said to be answered")
	case <-time.After(100 * time.Millisecond): // it cannot be seen that nothing comes
	}
	followed.Respond(&raft.AppendEntriesResponse{Term: 4, Success: true}, nil)
	next := <-to.Consumer()
	select {
	case <-over:
	default:
		t.Error("the next request came before the life knew of the answer")
	}
	next.Respond(&raft.RequestVoteResponse{Term: 5}, nil)
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

// headerOf is the header of an agent's requests.
func headerOf(id string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(id), Addr: []byte(id)}
}

// A member must not speak for another one: what is remembered of that one would
// make its disk look like an older copy.
func TestARequestIsOfTheAgentThatSentIt(t *testing.T) {
	w := newWorld(t)
	a, log := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to, from := must(a.Raft(RaftConfig{})), must(b.Raft(RaftConfig{}))
	to.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Term: 9}, nil) })
	go func() { // raft's main loop
		for {
			select {
			case rpc := <-to.Consumer():
				rpc.Respond(&raft.RequestVoteResponse{Term: 9}, nil)
			case <-a.raft.in.Done():
				return
			}
		}
	}()
	vote := func(header raft.RPCHeader) error {
		return from.RequestVote("a", "a", &raft.RequestVoteRequest{RPCHeader: header, Term: 9}, &raft.RequestVoteResponse{})
	}
	heartbeat := func(header raft.RPCHeader) error {
		return from.AppendEntries("a", "a", &raft.AppendEntriesRequest{RPCHeader: header, Term: 9}, &raft.AppendEntriesResponse{})
	}
	snapshot := func(header raft.RPCHeader) error {
		req := &raft.InstallSnapshotRequest{RPCHeader: header, SnapshotVersion: 1, Term: 9, Size: 1 << 20}
		return from.InstallSnapshot("a", "a", req, &raft.InstallSnapshotResponse{}, bytes.NewReader(make([]byte, req.Size)))
	}
	forged, named := headerOf("b"), headerOf("c")
	forged.Addr, named.Addr = []byte("c"), []byte("b")
	for name, send := range map[string]func(raft.RPCHeader) error{"vote": vote, "heartbeat": heartbeat, "snapshot": snapshot} {
		for _, header := range []raft.RPCHeader{headerOf("c"), forged, named, headerOf("")} {
			if err := send(header); err == nil || !strings.Contains(err.Error(), "agent b sends raft's requests in the name of") {
				t.Errorf("a %s of %q at %q: %v", name, header.ID, header.Addr, err)
			}
		}
	}
	if err := errors.Join(vote(headerOf("b")), heartbeat(headerOf("b"))); err != nil {
		t.Error(err)
	}
	eventually(t, "a says so", func() bool { return log.has(`in the name of agent "c" at "c"`) })
}

// After a peer's restart every pooled stream to it is dead; a vote request over one
// must not be lost.
func TestDeadPooledStreamsCostNoRequest(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	from := must(b.Raft(RaftConfig{}))
	for life := range 3 {
		to := must(a.Raft(RaftConfig{}))
		var asked sync.WaitGroup
		for range 3 {
			asked.Go(func() {
				req := &raft.RequestVoteRequest{RPCHeader: headerOf("b"), Term: 1}
				if err := from.RequestVote("a", "a", req, &raft.RequestVoteResponse{}); err != nil {
					t.Errorf("life %d: %v", life, err)
				}
			})
		}
		var together []raft.RPC // so that each has a stream of its own
		for range 3 {
			together = append(together, <-to.Consumer())
		}
		for _, rpc := range together {
			rpc.Respond(&raft.RequestVoteResponse{Term: 1}, nil)
		}
		asked.Wait()
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Strong reads rely on it: a late answer proves nothing about the time after its
// request was sent.
func TestAnAckIsOfWhenItsRequestLeft(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Peers = map[string]string{"a": a.ListenAddr()} })
	to, from := must(a.Raft(RaftConfig{})), must(b.Raft(RaftConfig{}))
	arrived, answer := make(chan struct{}), make(chan struct{})
	to.SetHeartbeatHandler(func(rpc raft.RPC) {
		close(arrived)
		<-answer
		rpc.Respond(&raft.AppendEntriesResponse{Term: 1}, nil)
	})
	sent := make(chan error, 1)
	go func() {
		id := []byte("b")
		req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: id, Addr: id}, Term: 1}
		sent <- from.AppendEntries("a", "a", req, &raft.AppendEntriesResponse{})
	}()
	<-arrived
	read := b.config.Clock.Now() // of a read that comes while the answer is held back
	close(answer)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if left, term := from.LastAck("a"); term != 1 || left.IsZero() || !left.Before(read) {
		t.Errorf("a request that left before %s counts as of %s, in term %d", read, left, term)
	}
}

// remembers returns what a transport remembers of another agent.
func remembers(t *Transport, id string) peerlogs.Remembered {
	is, _ := t.memory.Of(id)
	return is
}
