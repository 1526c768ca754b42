package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// kept is a Store in memory.
type kept struct {
	b   []byte
	err error
}

func (k *kept) Load() ([]byte, error) { return k.b, k.err }
func (k *kept) Save(b []byte) error   { k.b = bytes.Clone(b); return k.err }

// of is a hello of agent b.
func of(life string, term uint64, end Place, since uint64) Hello {
	return Hello{ID: "b", Incarnation: "disk", Log: LogState{Life: life, Term: term, End: end, Since: since}}
}

func newMemory(t *testing.T, s Store) *memory {
	t.Helper()
	m := &memory{}
	if err := m.load(s); err != nil {
		t.Fatal(err)
	}
	return m
}

// introduced compares and meets, and returns what the other side is told.
func (m *memory) introduced(t *testing.T, h Hello) Remembered {
	t.Helper()
	told, err := m.compare(h)
	if err != nil || told == nil {
		t.Fatalf("%+v: %v, %v", h.Log, told, err)
	}
	if err := m.meet(h); err != nil {
		t.Fatal(err)
	}
	return *told
}

func heartbeat(term uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: term}
}

func appended(term, index uint64) *raft.AppendEntriesRequest {
	r := heartbeat(term)
	r.PrevLogTerm, r.PrevLogEntry = term, index-1
	r.Entries = []*raft.Log{{Term: term, Index: index}}
	return r
}

func TestWhatAnAgentHasStoredIsRememberedForItsNextLife(t *testing.T) {
	for name, hear := range map[string]func(*memory){
		"it has acknowledged": func(m *memory) {
			m.hearAnswer("b", "", appended(3, 50), &raft.AppendEntriesResponse{Term: 3, Success: true})
		},
		"it has led": func(m *memory) { m.hearRequest(appended(3, 50)) },
		"it has taken a snapshot": func(m *memory) {
			m.hearAnswer("b", "", &raft.InstallSnapshotRequest{Term: 3, LastLogTerm: 3, LastLogIndex: 50}, &raft.InstallSnapshotResponse{Term: 3, Success: true})
		},
		"it has sent a snapshot": func(m *memory) {
			m.hearRequest(&raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: 3, LastLogTerm: 3, LastLogIndex: 50})
		},
		"it has said so in a hello": func(m *memory) { _ = m.meet(of("1", 3, Place{3, 50}, 3)) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &kept{}
			m := newMemory(t, store)
			m.introduced(t, of("1", 3, Place{3, 10}, 3))
			hear(m)
			if told := m.introduced(t, of("1", 3, Place{3, 10}, 3)); told.Stored.Index == 50 {
				t.Error("a life is told what it has said itself")
			}
			if err := m.save(store); err != nil {
				t.Fatal(err)
			}
			for _, m := range []*memory{m, newMemory(t, store)} { // and after a restart
				if told := m.introduced(t, of("2", 3, Place{3, 10}, 3)); told.Stored != (Place{3, 50}) || told.In != 3 || told.Term != 3 {
					t.Errorf("the next life is told %+v", told)
				}
			}
		})
	}
}

func TestWhatSaysNothingIsNotRemembered(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	m.hearRequest(&raft.RequestPreVoteRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: 9})
	m.hearAnswer("b", "", &raft.RequestPreVoteRequest{Term: 9}, &raft.RequestPreVoteResponse{Term: 9})
	m.hearAnswer("b", "", appended(3, 50), &raft.AppendEntriesResponse{Term: 3})
	m.hearRequest(heartbeat(3))
	m.hearRequest(&raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte("stranger")}, Term: 9})
	if told := m.introduced(t, of("2", 3, Place{3, 10}, 3)); told.Stored != (Place{3, 10}) || told.Term != 3 {
		t.Errorf("%+v", told)
	}
	if _, err := m.compare(Hello{ID: "stranger", Incarnation: "x", Log: LogState{Life: "1", Term: 1}}); err != nil {
		t.Error(err)
	}
	// Another disk has promised nothing.
	other := of("3", 1, Place{}, 0)
	other.Incarnation = "other"
	if told, err := m.compare(other); err != nil || told.Stored != (Place{}) || told.Term != 0 {
		t.Errorf("%+v, %v", told, err)
	}
}

func TestWhatWasTruncatedRightlyIsForgotten(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	m.hearAnswer("b", "", appended(3, 50), &raft.AppendEntriesResponse{Term: 3, Success: true})
	// Its floor was written in a later term than that in which it was heard.
	if told := m.introduced(t, of("2", 5, Place{3, 20}, 5)); told.Stored != (Place{3, 20}) {
		t.Errorf("%+v", told)
	}
}

func TestAnOlderDiskIsRefused(t *testing.T) {
	for name, hear := range map[string]func(*memory){
		"a heartbeat": func(m *memory) { m.hearRequest(heartbeat(7)) },
		"a vote request": func(m *memory) {
			m.hearRequest(&raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: 7})
		},
		"a vote": func(m *memory) {
			m.hearAnswer("b", "", &raft.RequestVoteRequest{Term: 7}, &raft.RequestVoteResponse{Term: 7, Granted: true})
		},
		"a hello": func(m *memory) { _ = m.meet(of("1", 7, Place{3, 10}, 3)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t, nil)
			m.introduced(t, of("1", 3, Place{3, 10}, 3))
			hear(m)
			if _, err := m.compare(of("1", 6, Place{3, 10}, 3)); err != nil {
				t.Errorf("a late hello of the same life: %v", err)
			}
			told, err := m.compare(of("2", 6, Place{3, 10}, 3))
			if err == nil || !strings.Contains(err.Error(), "older copy of its disk: it was heard in term 7, and its disk knows only term 6") || told.Term != 7 {
				t.Errorf("%+v, %v", told, err)
			}
			if _, err := m.compare(of("2", 7, Place{3, 10}, 3)); err != nil {
				t.Errorf("the disk as it was: %v", err)
			}
		})
	}
}

func TestNothingOfAnEarlierLifeCounts(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	if n, err := m.current("b", "1", 5, nil); n != 5 || err != nil {
		t.Error(n, err)
	}
	m.introduced(t, of("2", 3, Place{3, 10}, 3))
	if n, err := m.current("b", "1", 5, nil); n != 0 || !errors.Is(err, errEarlierLife) {
		t.Error(n, err)
	}
	r := &RaftTransport{parent: &Transport{}}
	r.parent.memory.of, r.parent.memory.lives = m.of, m.lives
	err := r.sameLife("b", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}, func() error {
		r.parent.memory.introduced(t, of("3", 3, Place{3, 10}, 3))
		return nil
	})
	if !errors.Is(err, errEarlierLife) {
		t.Errorf("an answer across two lives: %v", err)
	}
}

func TestNothingCountsBetweenTheHellosOfTwoLives(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	told, err := m.compare(of("2", 3, Place{3, 10}, 3)) // it is told what counts until now
	if err != nil || told.Stored != (Place{3, 10}) {
		t.Fatalf("%+v, %v", told, err)
	}
	late := m.hearAnswer("b", "1", appended(3, 50), &raft.AppendEntriesResponse{Term: 3, Success: true})
	if !errors.Is(late, errEarlierLife) || m.of["b"].Stored != (Place{3, 10}) {
		t.Errorf("an answer of the life before counts: %v, %+v", late, m.of["b"])
	}
	if _, err := m.current("b", "1", 5, nil); !errors.Is(err, errEarlierLife) {
		t.Errorf("a stream of the life before goes on: %v", err)
	}
	// The hello of the life before was read first, and is completed last.
	if err := m.meet(of("1", 3, Place{3, 10}, 3)); !errors.Is(err, errEarlierLife) {
		t.Errorf("a late hello: %v", err)
	}
	if err := m.meet(of("2", 3, Place{3, 10}, 3)); err != nil || m.life("b") != "2" {
		t.Errorf("%v, life %s", err, m.life("b"))
	}
}

// living is a life of raft that keeps what it is told.
type living struct {
	free
	log LogState

	mu   sync.Mutex
	told Remembered
}

func (l *living) Log() LogState { return l.log }

func (l *living) Met(_ Hello, told *Remembered) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if told != nil {
		l.told = *told
	}
	return nil
}

func (l *living) isTold() Remembered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

type noDialer struct{}

func (noDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("it does not dial")
}

func TestWhatIsRememberedReachesTheNextLifeWhoeverDials(t *testing.T) {
	for name, c := range map[string]struct {
		dialler string
		heard   uint64 // the term in which b was heard; its disk has come to 5
	}{
		"it dials": {"b", 5}, "it is dialled": {"a", 5},
		"an older disk dials": {"b", 9}, "an older disk is dialled": {"a", 9},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mute := func(config *Config) {
				if config.ID != c.dialler {
					config.Dialer = noDialer{}
				}
			}
			a, _ := w.agent("a", mute)
			b, _ := w.agent("b", mute)
			from, to := a, b
			if c.dialler == "b" {
				from, to = b, a
			}
			meet := func() error {
				conn, _, err := from.dialAt(t.Context(), to.ListenAddr(), to.ID(), protocolHello)
				if err == nil {
					err = conn.Close()
				}
				return err
			}
			must(a.Raft(RaftConfig{Life: &living{log: LogState{Life: "a1", Term: 5}}}))
			first := must(b.Raft(RaftConfig{Life: &living{log: LogState{Life: "b1", Term: 5, End: Place{3, 10}, Since: 3}}}))
			if err := meet(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a remembers b", func() bool { return a.memory.knows("b") })
			a.memory.hear("b", c.heard, Place{5, 50}, 5)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			next := &living{log: LogState{Life: "b2", Term: 5, End: Place{3, 10}, Since: 3}}
			must(b.Raft(RaftConfig{Life: next}))
			if err := meet(); (err != nil) != (c.heard > 5) {
				t.Errorf("the meeting ends with %v", err)
			}
			want := Remembered{Incarnation: "b-1", Stored: Place{5, 50}, In: 5, Term: c.heard}
			eventually(t, "b is told", func() bool { return next.isTold() == want })
			if c.heard > 5 {
				return
			}
			conn, _, err := from.dialAt(t.Context(), to.ListenAddr(), to.ID(), protocolRaft)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if d := conn.(*dialledConn); d.peer != to.ID() || d.life != to.life().Log().Life {
				t.Errorf("a stream is of life %q of %s", d.life, d.peer)
			}
		})
	}
}

// Who is no member has no say on what this agent has stored.
func TestAStrangersMemoryIsNotHeeded(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a", func(c *Config) { c.Dialer = noDialer{} })
	b, _ := w.agent("b")
	life := closedTo{stranger: "a", met: make(chan Hello, 10)}
	must(a.Raft(RaftConfig{Life: &living{log: LogState{Life: "a1", Term: 5}}}))
	must(b.Raft(RaftConfig{Life: life}))
	a.memory.introduced(t, Hello{ID: "b", Incarnation: "b-1", Log: LogState{Life: "b0", Term: 3}})
	a.memory.hear("b", 9, Place{}, 0) // b's disk has come to 3
	if _, _, err := b.dialAt(t.Context(), a.ListenAddr(), "a", protocolHello); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Fatalf("it is not refused: %v", err)
	}
	if len(life.met) > 0 {
		t.Error("b's raft is told what a stranger remembers")
	}
}

// What an agent remembers counts also while raft does not run on it.
func TestAnOlderDiskIsRefusedWhereRaftDoesNotRun(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a", func(c *Config) { c.Dialer = noDialer{} })
	b, _ := w.agent("b")
	must(b.Raft(RaftConfig{Life: &living{log: LogState{Life: "b1", Term: 3}}}))
	a.memory.introduced(t, Hello{ID: "b", Incarnation: "b-1", Log: LogState{Life: "b0", Term: 3}})
	a.memory.hear("b", 9, Place{}, 0) // b's disk has come to 3
	if _, _, err := b.dialAt(t.Context(), a.ListenAddr(), "a", protocolHello); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("it is not refused: %v", err)
	}
}

func TestWhatIsHeardOfAgainInAnEarlierTermKeepsItsTerm(t *testing.T) {
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	m.hear("b", 5, Place{3, 50}, 5)
	m.hear("b", 5, Place{3, 50}, 4)
	if is := m.of["b"]; is.In != 5 {
		t.Errorf("%+v", is)
	}
}

// channel is a Store that passes on what it is given.
type channel chan []byte

func (channel) Load() ([]byte, error) { return nil, nil }
func (c channel) Save(b []byte) error { c <- b; return nil }

func TestWhatIsRememberedIsSavedWithinASecond(t *testing.T) {
	tr, now := listening()
	saved := make(channel, 9)
	tr.config.Memory, tr.config.Logger = saved, &notes{}
	if err := tr.memory.load(saved); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tr.ctx = ctx
	tr.memory.introduced(t, of("1", 3, Place{3, 10}, 3))
	over := make(chan struct{})
	go func() { defer close(over); tr.saveLoop() }()
	if err := now.WaitAdvance(time.Second, 10*time.Second, 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-saved:
	case <-time.After(10 * time.Second):
		t.Error("nothing was saved")
	}
	tr.memory.hear("b", 4, Place{}, 0)
	cancel()
	<-over
	if len(saved) != 1 {
		t.Errorf("at the end it was saved %d times", len(saved))
	}
}

func TestMemoryIsBoundedAndTakesUpTheNewest(t *testing.T) {
	m := newMemory(t, nil)
	for i := range 2 * maxKnown {
		h := of("1", 3, Place{3, 10}, 3)
		h.ID = fmt.Sprint(i)
		m.introduced(t, h)
	}
	if len(m.of) > maxKnown || len(m.lives) > maxKnown || !m.knows(fmt.Sprint(2*maxKnown-1)) {
		t.Errorf("%d agents and %d lives are remembered", len(m.of), len(m.lives))
	}
}

func TestAMemoryThatCannotBeReadIsSaid(t *testing.T) {
	for _, s := range []Store{&kept{err: errors.New("broken")}, &kept{b: []byte("{")}} {
		m := &memory{}
		if err := m.load(s); err == nil {
			t.Errorf("%+v", s)
		}
		m.introduced(t, of("1", 3, Place{3, 10}, 3))
	}
	m := newMemory(t, nil)
	m.introduced(t, of("1", 3, Place{3, 10}, 3))
	full := &kept{err: errors.New("full")}
	if err := m.save(full); err == nil {
		t.Error("no error")
	}
	full.b, full.err = nil, nil
	if err := m.save(full); err != nil || full.b == nil {
		t.Errorf("it is not saved later: %v", err)
	}
	full.b = nil
	if err := m.save(full); err != nil || full.b != nil {
		t.Errorf("what is not new is saved again: %v", err)
	}
}
