package reads

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/silent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quorum is raft and its acks as a round sees them. Its voters are a (the one
// under test), b and c unless changed.
type quorum struct {
	mu       sync.Mutex
	state    raft.RaftState
	term     uint64
	ready    uint64
	commit   uint64
	voters   []raft.ServerID
	acks     map[raft.ServerID]ack
	changed  chan struct{}
	provoked int
	applied  uint64
}

type ack struct {
	sent time.Time
	term uint64
}

func newQuorum() *quorum {
	return &quorum{
		state: raft.Leader, term: 4, ready: 4, commit: 10,
		voters: []raft.ServerID{"a", "b", "c"}, acks: map[raft.ServerID]ack{},
	}
}

func (q *quorum) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
}

func get[T any](q *quorum, field *T) T {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *field
}

func (q *quorum) State() raft.RaftState { return get(q, &q.state) }
func (q *quorum) CurrentTerm() uint64   { return get(q, &q.term) }
func (q *quorum) CommitIndex() uint64   { return get(q, &q.commit) }
func (q *quorum) readyTerm() uint64     { return get(q, &q.ready) }

func (q *quorum) VerifyLeader() raft.Future {
	q.set(func() { q.provoked++ })
	return done{}
}

func (q *quorum) GetConfiguration() raft.ConfigurationFuture {
	q.mu.Lock()
	defer q.mu.Unlock()
	var c raft.Configuration
	for _, id := range q.voters {
		c.Servers = append(c.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
	}
	c.Servers = append(c.Servers, raft.Server{ID: "n", Address: "n", Suffrage: raft.Nonvoter})
	return done{configuration: c}
}

// done is a future that is.
type done struct{ configuration raft.Configuration }

func (done) Error() error                        { return nil }
func (done) Index() uint64                       { return 0 }
func (d done) Configuration() raft.Configuration { return d.configuration }

func (q *quorum) LastAck(id raft.ServerID) (time.Time, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.acks[id].sent, q.acks[id].term
}

func (q *quorum) AckChanged() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return q.changed
}

func (q *quorum) WaitApplied(_ context.Context, index uint64) error {
	q.set(func() { q.applied = index })
	return nil
}

// answers notes that id answered, in term, what was sent then.
func (q *quorum) answers(id raft.ServerID, term uint64, sent time.Time) {
	q.set(func() {
		q.acks[id] = ack{sent, term}
		if q.changed != nil {
			close(q.changed)
			q.changed = nil
		}
	})
}

// answer is what a reader got.
type answer struct {
	index uint64
	err   error
}

// bench is a worker in a bubble of virtual time.
type bench struct {
	*testing.T
	*quorum
	rounds *Rounds
}

func inBubble(t *testing.T, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum()
		rounds, err := New(Config{
			ID: "a", Raft: q, Acks: q, State: q, ReadyTerm: q.readyTerm, Clock: clock.WallClock, Logger: silent.Logger{},
		})
		if err != nil {
			t.Fatal(err)
		}
		test(&bench{t, q, rounds})
		rounds.Kill()
		if err := rounds.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// read starts a reader and lets it come to rest.
func (b *bench) read() <-chan answer {
	got := make(chan answer, 1)
	go func() {
		index, err := b.rounds.Index(context.Background())
		got <- answer{index, err}
	}()
	synctest.Wait()
	return got
}

// moment lets time pass, so that what happens next is later.
func moment() time.Time {
	time.Sleep(time.Millisecond)
	return time.Now()
}

func (b *bench) waits(got <-chan answer, why string) {
	b.Helper()
	synctest.Wait()
	select {
	case a := <-got:
		b.Errorf("%s: the reader got %d, %v", why, a.index, a.err)
	default:
	}
}

func (b *bench) gets(got <-chan answer, index uint64) {
	b.Helper()
	synctest.Wait()
	select {
	case a := <-got:
		if a.err != nil || a.index != index {
			b.Errorf("the reader got %d, %v; want %d", a.index, a.err, index)
		}
	default:
		b.Errorf("the reader still waits")
	}
}

func (b *bench) fails(got <-chan answer, kind interrex.Kind) {
	b.Helper()
	if a := <-got; interrex.KindOf(a.err) != kind {
		b.Errorf("the reader got %d, %v; want %q", a.index, a.err, kind)
	}
}

func TestReaderGetsTheCommitIndexOfTheRoundsStart(t *testing.T) {
	inBubble(t, func(b *bench) {
		got := b.read()
		if b.provoked != 1 {
			t.Errorf("heartbeats were asked for %d times", b.provoked)
		}
		b.set(func() { b.commit = 11 })
		b.answers("b", 4, moment())
		b.gets(got, 10)
	})
}

// This is what raft.VerifyLeader does not promise.
func TestAnswerToAnOlderRequestDoesNotCount(t *testing.T) {
	inBubble(t, func(b *bench) {
		before := moment()
		moment()
		got := b.read()
		b.answers("b", 4, before)
		b.answers("c", 4, before)
		b.waits(got, "answers to requests from before the round")
		b.answers("c", 4, moment())
		b.gets(got, 10)
	})
}

func TestRequestSentInTheInstantOfTheStartDoesNotCount(t *testing.T) {
	inBubble(t, func(b *bench) {
		got := b.read()
		b.answers("b", 4, time.Now())
		b.waits(got, "an answer whose order is not known")
		b.answers("b", 4, moment())
		b.gets(got, 10)
	})
}

func TestAnswerInAnotherTermDoesNotCount(t *testing.T) {
	inBubble(t, func(b *bench) {
		got := b.read()
		b.answers("b", 3, moment())
		b.waits(got, "an answer in an older term")
		b.answers("b", 4, moment())
		b.gets(got, 10)
	})
}

func TestNonVoterDoesNotCount(t *testing.T) {
	inBubble(t, func(b *bench) {
		got := b.read()
		b.answers("n", 4, moment())
		b.waits(got, "an answer of a non-voter")
		b.answers("c", 4, moment())
		b.gets(got, 10)
	})
}

func TestLeaderThatIsNoVoterDoesNotCountItself(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.set(func() { b.voters = []raft.ServerID{"b", "c"} })
		got := b.read()
		b.answers("c", 4, moment())
		b.waits(got, "one of two voters")
		b.answers("b", 4, moment())
		b.gets(got, 10)
	})
}

func TestQuorumIsOfTheOldAndOfTheNewVoters(t *testing.T) {
	inBubble(t, func(b *bench) {
		got := b.read()
		b.set(func() { b.voters = []raft.ServerID{"a", "b", "c", "d", "e"} })
		b.answers("b", 4, moment())
		b.waits(got, "two of five")
		b.answers("e", 4, moment())
		b.gets(got, 10)
	})
}

func TestOneVoterNeedsNoNetwork(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.set(func() { b.voters = []raft.ServerID{"a"} })
		b.gets(b.read(), 10)
		if b.provoked != 0 {
			t.Error("heartbeats were asked for")
		}
	})
}

func TestDeposedLeaderNeverAnswers(t *testing.T) {
	for name, depose := range map[string]func(q *quorum){
		"it follows":         func(q *quorum) { q.state = raft.Follower },
		"a new term began":   func(q *quorum) { q.term = 5 },
		"it leads once more": func(q *quorum) { q.term, q.ready = 6, 6 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				got := b.read()
				b.set(func() { depose(b.quorum) })
				b.answers("b", 4, moment())
				b.fails(got, interrex.ErrNotLeader)
			})
		})
	}
}

func TestDeposedLeaderIsNoticedWithoutAnyAnswer(t *testing.T) {
	inBubble(t, func(b *bench) {
		began := time.Now()
		got := b.read()
		b.set(func() { b.state = raft.Follower })
		b.fails(got, interrex.ErrNotLeader)
		if took := time.Since(began); took > recheck {
			t.Errorf("it took %s", took)
		}
	})
}

func TestFollowerAnswersAtOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.set(func() { b.state = raft.Follower })
		b.fails(b.read(), interrex.ErrNotLeader)
	})
}

func TestLeaderThatHasAppliedNothingOfItsOwnDoesNotAnswer(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.set(func() { b.ready = 3 })
		got := b.read()
		b.answers("b", 4, moment())
		b.fails(got, interrex.ErrUnavailable)
	})
}

func TestRoundWithoutAQuorumEnds(t *testing.T) {
	inBubble(t, func(b *bench) {
		began := time.Now()
		b.fails(b.read(), interrex.ErrUnavailable)
		if took := time.Since(began); took != DefaultTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

func TestReaderJoinsOnlyARoundThatStartsAfterItArrived(t *testing.T) {
	inBubble(t, func(b *bench) {
		first := b.read()
		b.set(func() { b.commit = 11 }) // acknowledged before the second arrives
		second, third := b.read(), b.read()
		b.answers("b", 4, moment())
		b.gets(first, 10)
		b.waits(second, "a round that began before it")
		b.answers("b", 4, moment())
		b.gets(second, 11)
		b.gets(third, 11)
		if n := b.rounds.Report()["rounds"]; n != uint64(2) {
			t.Errorf("%v rounds for three readers, want 2", n)
		}
	})
}

func TestReaderWhoseTimeIsOverLeaves(t *testing.T) {
	inBubble(t, func(b *bench) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, err := b.rounds.Index(ctx)
		if !errors.Is(err, interrex.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestStopAnswersWhoWaits(t *testing.T) {
	inBubble(t, func(b *bench) {
		running, waiting := b.read(), b.read()
		b.rounds.Kill()
		b.fails(running, interrex.ErrUnavailable)
		b.fails(waiting, interrex.ErrUnavailable)
	})
}

func TestReadWaitsUntilTheIndexIsApplied(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.set(func() { b.voters = []raft.ServerID{"a"} })
		if err := b.rounds.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
		if b.applied != 10 {
			t.Errorf("it waited for %d, want 10", b.applied)
		}
	})
}

func TestConfigNamesWhatIsMissing(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty config was taken")
	}
}
