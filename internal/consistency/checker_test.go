package consistency_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

const readWait = 10 * time.Second

// agent is a Checker, with the parts of its agent that a test changes.
type agent struct {
	*consistency.Checker
	*testreplica.Replica
	ring     *watch.Ring
	leads    interrex.Leadership
	here     reads // nil: raft is down
	leader   reads // at the leader
	damage   error
	lastLine string
}

// reads determines the index of a strong read.
type reads func(context.Context) (uint64, error)

func (r reads) Index(ctx context.Context) (uint64, error) { return r(ctx) }

// at returns an index.
func at(index uint64) reads {
	return func(context.Context) (uint64, error) { return index, nil }
}

// failing returns an error.
func failing(err error) reads {
	return func(context.Context) (uint64, error) { return 0, err }
}

func (a *agent) Current() interrex.Leadership { return a.leads }

func (a *agent) Errorf(format string, args ...any) { a.lastLine = fmt.Sprintf(format, args...) }

// newAgent returns agent a, which follows agent b.
func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{ring: watch.New(watch.Config{}), leads: interrex.Leadership{LeaderID: "b", LeaderAddress: "b:1", Term: 3}}
	t.Cleanup(a.ring.Close)
	a.Replica = testreplica.New(t, func() []state.Table { return []state.Table{testtable.NewRegister()} })
	a.leader = failing(interrex.Errorf(interrex.ErrNoLeader, "nobody leads"))
	a.Checker = consistency.New(consistency.Config{
		ID: "a", State: a.Replica.State, Ring: a.ring, Leadership: a, ReadWait: readWait, Logger: a,
		Reads:      func() (consistency.Reads, bool) { return a.here, a.here != nil },
		AskLeader:  func(ctx context.Context, _ admission.Caller) (uint64, error) { return a.leader(ctx) },
		Quarantine: func() error { return a.damage },
	})
	return a
}

// leadHere makes the agent lead.
func (a *agent) leadHere(by reads) {
	a.leads, a.here = interrex.Leadership{Leader: true, LeaderID: "a"}, by
}

// write applies an entry with n operations, each of which takes a revision.
func (a *agent) write(n int) {
	ops := make([]state.Operation, n)
	for i := range ops {
		ops[i] = state.Operation{Table: testtable.RegisterTable, Data: testtable.Set(fmt.Sprint(i), "", 0)}
	}
	a.Do(1, ops...)
}

// lose applies a recovery, which loses what comes after the present revision.
func (a *agent) lose() {
	c := &machine.Recover{ClusterID: strings.Repeat("ab", 16), Bits: 1, Survivor: "a", Incarnation: "i"}
	a.Do(1, state.Operation{Table: machine.SystemTable, Data: c.Append(nil)})
}

func (a *agent) revision() interrex.Revision { return a.Replica.State.Revision() }

// is fails unless an error is of a kind; "": there is none.
func is(t *testing.T, what string, err error, kind interrex.Kind) {
	t.Helper()
	if interrex.KindOf(err) != kind || (err == nil) != (kind == "") {
		t.Errorf("%s: got %v, want %q", what, err, kind)
	}
}

func TestAnErrorNamesTheLeaderWhereThatHelps(t *testing.T) {
	a := newAgent(t)
	for kind, want := range map[interrex.Kind]string{
		interrex.ErrNotLeader: "b", interrex.ErrOutcomeUnknown: "b", interrex.ErrDraining: "b", interrex.ErrInvalid: "", interrex.ErrHeld: "",
	} {
		if got := a.Detail(interrex.Errorf(kind, "no")); got.GetLeaderId() != want || (got.GetLeaderAddress() == "") != (want == "") {
			t.Errorf("%s: the leader is %q at %q", kind, got.GetLeaderId(), got.GetLeaderAddress())
		}
	}
	other := interrex.Errorf(interrex.ErrNotLeader, "no")
	other.LeaderID = "c"
	if got := a.Detail(other); got.GetLeaderId() != "c" {
		t.Errorf("the leader of another agent's error becomes %q", got.GetLeaderId())
	}
}

func TestAnAgentThatDoesNotLeadNamesWhoDoes(t *testing.T) {
	a := newAgent(t)
	err := a.NotLeader(a.leads)
	is(t, "b leads", err, interrex.ErrNotLeader)
	var detail *interrex.Error
	if !errors.As(err, &detail) || detail.LeaderID != "b" || detail.LeaderAddress != "b:1" || detail.RetryAfter <= 0 {
		t.Errorf("got %+v", detail)
	}
	for _, id := range []string{"", "a"} { // its own: it is not ready to lead
		err := a.NotLeader(interrex.Leadership{LeaderID: id})
		is(t, "no other agent leads", err, interrex.ErrNoLeader)
		if interrex.RetryAfter(err) <= 0 {
			t.Errorf("leader %q: to be retried after %v", id, interrex.RetryAfter(err))
		}
	}
}

func TestWhoSaysHowFarAStrongReadHasToWait(t *testing.T) {
	elsewhere, slow := interrex.Errorf(interrex.ErrNotLeader, "no"), interrex.Errorf(interrex.ErrTimeout, "no")
	for what, c := range map[string]struct {
		leads bool
		here  reads
		door  admission.Door
		index uint64
		kind  interrex.Kind
	}{
		"a follower":                                {false, at(1), admission.Public, 7, ""},
		"the leader":                                {true, at(1), admission.Public, 2, ""},
		"the leader for a peer":                     {true, at(1), admission.Peer, 2, ""},
		"one that has just lost leadership":         {true, failing(elsewhere), admission.Public, 7, ""},
		"the same for a peer, which asks no others": {true, failing(elsewhere), admission.Peer, 0, interrex.ErrNotLeader},
		"a leader that fails otherwise":             {true, failing(slow), admission.Public, 0, interrex.ErrTimeout},
		"a leader without raft":                     {true, nil, admission.Public, 0, interrex.ErrUnavailable},
	} {
		a := newAgent(t)
		a.write(1)
		a.write(1)
		a.leader, a.here, a.leads.Leader = at(7), c.here, c.leads
		index, err := a.Index(t.Context(), admission.Caller{Door: c.door})
		is(t, what, err, c.kind)
		if index != c.index {
			t.Errorf("%s: index %d, want %d", what, index, c.index)
		}
	}
	a := newAgent(t)
	if _, err := a.IndexHere(t.Context()); interrex.RetryAfter(err) <= 0 {
		t.Errorf("without raft: to be retried after %v", interrex.RetryAfter(err))
	}
}

func TestTheLeadersIndexIsOneThatItHasApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.leadHere(at(2))
		a.write(1)
		got := make(chan uint64, 1)
		go func() {
			index, err := a.IndexHere(t.Context())
			is(t, "index", err, "")
			got <- index
		}()
		synctest.Wait()
		select {
		case index := <-got:
			t.Fatalf("index %d before entry 2 is applied", index)
		default:
		}
		a.write(1)
		if index := <-got; index != 2 {
			t.Errorf("index %d", index)
		}
	})
}

func TestAStateIsReadOnceItIsAppliedAndSound(t *testing.T) {
	a := newAgent(t)
	is(t, "nothing is applied", a.CheckApplied(), interrex.ErrUnavailable)
	a.write(2)
	is(t, "applied", a.CheckApplied(), "")
	is(t, "reached", a.CheckReached(2), "")
	is(t, "not reached", a.CheckReached(3), interrex.ErrInvalid)
	a.leader = at(1)
	is(t, "current", a.WaitCurrent(t.Context(), admission.Caller{}), "")

	a.damage = errors.New("its log ends too early")
	for what, err := range map[string]error{
		"read": a.CheckApplied(), "strong read": a.WaitCurrent(t.Context(), admission.Caller{}),
		"reached": a.WaitReached(t.Context(), admission.Caller{}, 1),
	} {
		is(t, "in quarantine, "+what, err, interrex.ErrUnavailable)
		if interrex.RetryAfter(err) <= 0 {
			t.Errorf("in quarantine, %s: to be retried after %v", what, interrex.RetryAfter(err))
		}
	}
}

func TestAReadWaitsForItsRevision(t *testing.T) {
	silent := func(ctx context.Context) (uint64, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	for what, c := range map[string]struct {
		leader reads
		writes int // after a second
		took   time.Duration
		fails  interrex.Kind
	}{
		"applied later":                     {silent, 1, time.Second, ""},
		"the leader knows of none":          {at(1), 0, 0, interrex.ErrInvalid},
		"the leader does not answer":        {silent, 0, readWait, interrex.ErrTimeout},
		"nobody leads, and applied later":   {failing(interrex.Errorf(interrex.ErrNoLeader, "no")), 1, time.Second, ""},
		"nobody leads, and nothing follows": {failing(interrex.Errorf(interrex.ErrNoLeader, "no")), 0, readWait, interrex.ErrTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAgent(t)
			a.write(1)
			a.leader = c.leader
			begun := time.Now()
			if c.writes > 0 {
				time.AfterFunc(time.Second, func() { a.write(c.writes) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), readWait)
			defer cancel()
			is(t, what, a.WaitReached(ctx, admission.Caller{}, 2), c.fails)
			if took := time.Since(begun); took != c.took {
				t.Errorf("%s: it took %v, want %v", what, took, c.took)
			}
		})
	}
}

func TestAReadLeavesNoQuestionBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		var ended atomic.Bool
		a.leader = func(ctx context.Context) (uint64, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended.Store(true)
			return 0, ctx.Err()
		}
		time.AfterFunc(time.Second, func() { a.write(1) })
		is(t, "applied later", a.WaitReached(t.Context(), admission.Caller{}, 1), "")
		if !ended.Load() {
			t.Error("the leader is still being asked")
		}
	})
}

func TestWhereARequestContinues(t *testing.T) {
	hint := interrex.Errorf(interrex.ErrNoLeader, "nobody leads")
	hint.RetryAfter = time.Second
	silent := func(ctx context.Context) (uint64, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	for what, c := range map[string]struct {
		since  interrex.Revision
		leader reads
		writes int // after a second
		took   time.Duration
		kind   interrex.Kind
	}{
		"here":                            {2, failing(hint), 0, 0, ""},
		"only in the ring as yet":         {3, failing(hint), 0, 0, ""},
		"lost":                            {5, failing(hint), 0, 0, interrex.ErrCompacted},
		"in the future":                   {1 << 52, at(1), 0, 0, interrex.ErrInvalid},
		"ahead, and nobody leads":         {1 << 52, failing(hint), 0, 0, interrex.ErrUnavailable},
		"ahead, and the leader is silent": {1 << 52, silent, 0, readWait, interrex.ErrUnavailable},
		"ahead, and applied in time":      {0, silent, 1, time.Second, ""}, // 0: the next one
		"ahead, and the leader panics":    {1 << 52, func(context.Context) (uint64, error) { panic("no index") }, 0, 0, interrex.ErrUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAgent(t)
			a.write(2)
			a.ring.Publish(nil, 3)
			if c.kind == interrex.ErrCompacted {
				a.lose()
			}
			since := c.since
			if since == 0 {
				since = 4
				time.AfterFunc(time.Second, func() { a.write(2) })
			}
			a.leader = c.leader
			begun := time.Now()
			err := a.WaitSince(t.Context(), admission.Caller{}, since)
			is(t, what, err, c.kind)
			if took := time.Since(begun); took != c.took {
				t.Errorf("%s: it took %v, want %v", what, took, c.took)
			}
			var detail *interrex.Error
			switch errors.As(err, &detail); {
			case c.kind == interrex.ErrCompacted && detail.FirstRevision != 2:
				t.Errorf("%s: to be requested since %d", what, detail.FirstRevision)
			case c.kind == interrex.ErrUnavailable && detail.RetryAfter < consistency.MaxPause:
				t.Errorf("%s: to be retried after %v", what, detail.RetryAfter)
			}
		})
	}
	a := newAgent(t)
	if err := a.RefuseFuture(9, hint); !errors.Is(err, hint) || interrex.RetryAfter(err) != time.Second {
		t.Errorf("the reason for the lag is gone: %v, to be retried after %v", err, interrex.RetryAfter(err))
	}
}

func TestWhatWasLostMeanwhileIsNotContinued(t *testing.T) {
	a := newAgent(t)
	a.write(2)
	if !a.Ahead(5) {
		t.Fatal("it is not ahead")
	}
	a.lose()
	is(t, "lost", a.RefuseFuture(5, nil), interrex.ErrCompacted)
	is(t, "kept", a.RefuseFuture(2, nil), "")
	is(t, "after the recovery", a.RefuseFuture(a.revision(), nil), "")
}

func TestAPanicIsTheErrorOfItsCall(t *testing.T) {
	a := newAgent(t)
	err := func() (err error) {
		defer a.Guard("/a.Service/Do", &err)
		panic("broken")
	}()
	is(t, "panic", err, interrex.ErrOutcomeUnknown)
	if !strings.Contains(a.lastLine, "/a.Service/Do") || !strings.Contains(a.lastLine, "broken") {
		t.Errorf("logged is %q", a.lastLine)
	}
}

func TestTheErrorThatEndsAStream(t *testing.T) {
	a := newAgent(t)
	if err := a.RPCError(nil); err != nil {
		t.Errorf("nothing ended it: %v", err)
	}
	theirs := connect.NewError(connect.CodeDataLoss, errors.New("cut"))
	if got := a.RPCError(theirs); connect.CodeOf(got) != connect.CodeDataLoss {
		t.Errorf("an error of the RPC library becomes %v", got)
	}
	if got := a.RPCError(interrex.Errorf(interrex.ErrInvalid, "no")); connect.CodeOf(got) != connect.CodeInvalidArgument {
		t.Errorf("an invalid request: %v", got)
	}
}
