package peering

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/peerlogs"
)

// introduced records a hello as one that is met.
func introduced(t *testing.T, m *peerlogs.Memory, h Hello) {
	t.Helper()
	_, err := m.Compare(h.ofLog())
	if err = errors.Join(err, m.Meet(h.ofLog())); err != nil {
		t.Fatal(err)
	}
}

// voted is a request of agent b in a term.
func voted(term uint64) *raft.RequestVoteRequest {
	return &raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ID: []byte("b")}, Term: term}
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

// living is a life of raft that records what it gets.
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
			eventually(t, "a remembers b", func() bool { _, known := a.memory.Of("b"); return known })
			a.memory.HearRequest(appended(5, 50))
			a.memory.HearRequest(voted(c.heard))
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
	introduced(t, &a.memory, Hello{ID: "b", Incarnation: "b-1", Log: LogState{Life: "b0", Term: 3}})
	a.memory.HearRequest(voted(9)) // b's disk has come to 3
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
	introduced(t, &a.memory, Hello{ID: "b", Incarnation: "b-1", Log: LogState{Life: "b0", Term: 3}})
	a.memory.HearRequest(voted(9)) // b's disk has come to 3
	if _, _, err := b.dialAt(t.Context(), a.ListenAddr(), "a", protocolHello); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("it is not refused: %v", err)
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
	if err := tr.memory.Load(saved); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tr.ctx = ctx
	introduced(t, &tr.memory, Hello{ID: "b", Incarnation: "disk", Log: LogState{Life: "1", Term: 3, End: Place{3, 10}, Since: 3}})
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
	tr.memory.HearRequest(voted(4))
	cancel()
	<-over
	if len(saved) != 1 {
		t.Errorf("at the end it was saved %d times", len(saved))
	}
}

// The memory has what an agent's hello says of its log, and an agent is sent what the
// memory has.
func TestTheMemoryIsToldWhatAHelloSays(t *testing.T) {
	h := Hello{ID: "b", Incarnation: "disk", Log: LogState{Life: "1", Term: 2, End: Place{3, 4}, Floor: Place{5, 6}, Since: 7}}
	want := peerlogs.Hello{ID: "b", Incarnation: "disk", Life: "1", Term: 2, End: peerlogs.Place{Term: 3, Index: 4}, Since: 7}
	if got := h.ofLog(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	told := remembered(&peerlogs.Remembered{Incarnation: "disk", Stored: peerlogs.Place{Term: 1, Index: 2}, In: 3, Term: 4})
	if *told != (Remembered{Incarnation: "disk", Stored: Place{1, 2}, In: 3, Term: 4}) {
		t.Errorf("%+v", *told)
	}
	if remembered(nil) != nil {
		t.Error("something of nothing")
	}
}
