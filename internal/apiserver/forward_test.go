package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/wire"
)

// follower returns the leader, and another.
func follower(t *testing.T, nodes []*node) (l, f *node) {
	t.Helper()
	l = leader(t, nodes)
	for _, nd := range nodes {
		if nd != l {
			nd.waitFor(func() bool { return nd.tracker.Current().LeaderID == l.id })
			return l, nd
		}
	}
	t.Fatal("there is no follower")
	return nil, nil
}

func TestAFollowerDoesEverything(t *testing.T) {
	_, f := follower(t, cluster(t, 3))
	claim := f.curl("LeaseService/Claim", `{"key":"jobs/far","holder":"ann"}`)
	if claim.status != 200 {
		t.Fatalf("%d %s", claim.status, claim.body)
	}
	if claim.header.Get(wire.HeaderLeader) == f.id || claim.header.Get(wire.HeaderLeader) == "" {
		t.Errorf("leader: %q", claim.header.Get(wire.HeaderLeader))
	}
	for range 20 { // a strong read sees the write that was answered before it, at once
		if r := f.curl("LeaseService/Get", `{"key":"jobs/far"}`); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if r := f.curl("LeaseService/Claim", `{"key":"jobs/far","holder":"bob"}`); r.status != 409 || r.kind() != "held" || r.at("details", 0, "debug", "holder") != "ann" {
		t.Errorf("the error has not survived the hop: %d %s", r.status, r.body)
	}
	if r := f.curl("LeaseService/Get", `{"key":"jobs/far","consistency":"CONSISTENCY_EVENTUAL","min_revision":"99999"}`); r.kind() != "invalid" {
		t.Errorf("a revision that the leader has not reached: %s", r.body)
	}
	s := f.stream(t.Context(), f.url)
	for id := uint64(1); id <= 500; id++ {
		s.send(mixed(id))
	}
	for id, a := range s.answers(500) {
		if a.GetError().GetKind() != wantKind(id) {
			t.Errorf("operation %d: %v", id, a)
		}
	}
}

func TestAFollowerReadsWhatRaftItselfHasWritten(t *testing.T) {
	// The newest entry is one of raft's own, which no follower's state applies.
	_, f := follower(t, cluster(t, 3))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := f.call(ctx, getOp(0, "a/free")); interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("%v", err)
	}
}

func TestAPeerIsNeverSentOn(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	s := f.stream(t.Context(), f.peer)
	s.send(claimOp(1, "a/b", "ann"), getOp(2, "a/b"))
	for _, a := range s.answers(2) {
		if e := a.GetError(); e.GetKind() != "not leader" || e.GetLeaderId() != l.id || e.GetLeaderAddress() != l.url {
			t.Errorf("%v", a)
		}
	}
	if _, held := l.leases.Get(parse("a/b")); held {
		t.Error("the second hop was made")
	}
}

func TestPeersAreServedStreamsAlone(t *testing.T) {
	nd := cluster(t, 1)[0]
	if r := nd.post(nd.peer+"/interrex.v1.LeaseService/Claim", "application/json", []byte(`{}`)); r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestCallersDoNotSeeAnElection(t *testing.T) {
	nodes := cluster(t, 3, func(c *Config) { c.LeaderWait = time.Minute })
	l, f := follower(t, nodes)
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for i := range 4 {
		calls.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("jobs/%d-%d", i, n)
				_, err := f.call(t.Context(), claimOp(0, key, "ann"))
				if k := interrex.KindOf(err); err != nil && k != interrex.ErrOutcomeUnknown {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	l.must(l.raft.LeadershipTransfer().Error())
	f.waitFor(func() bool { id := f.tracker.Current().LeaderID; return id != "" && id != l.id })
	close(stop)
	calls.Wait()
}

func TestNobodyLeadsIsSaidAfterAWhile(t *testing.T) {
	nodes := cluster(t, 3, func(c *Config) { c.LeaderWait = 50 * time.Millisecond })
	l, f := follower(t, nodes)
	if r := f.curl("LeaseService/Get", `{"key":"a/b","consistency":"CONSISTENCY_EVENTUAL"}`); r.status != 503 || r.kind() != "unavailable" {
		t.Errorf("a read of a log that is not applied yet: %s", r.body)
	}
	l.claimed("a/c", "ann")
	f.waitFor(func() bool { return f.state.Revision() == 1 })
	for _, nd := range nodes {
		if nd != f {
			nd.must(nd.raft.Shutdown().Error())
		}
	}
	f.waitFor(func() bool { return f.tracker.Current().LeaderID == "" })
	r := f.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann"}`)
	if r.status != 503 || r.kind() != "no leader" || r.at("details", 0, "debug", "retryAfter") == nil {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.curl("LeaseService/Get", `{"key":"a/b"}`); r.status != 503 || r.kind() != "no leader" {
		t.Errorf("a strong read: %d %s", r.status, r.body)
	}
	if r := f.curl("LeaseService/Get", `{"key":"a/b","consistency":"CONSISTENCY_EVENTUAL"}`); r.kind() != "not found" {
		t.Errorf("an eventual read needs no leader: %s", r.body)
	}
}

// script is a forwarder with scripted answers.
type script struct {
	mu      sync.Mutex
	answers []error
	calls   []*interrexv1.Operation
}

func (s *script) Send(ops []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	for i, op := range ops {
		done(i, nil, s.next(op))
	}
	return func(int) {}
}

func (s *script) next(op *interrexv1.Operation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, op)
	if len(s.answers) == 0 {
		return nil
	}
	err := s.answers[0]
	s.answers = s.answers[1:]
	return err
}

func TestOnlyWhatHasNotHappenedIsSentAgain(t *testing.T) {
	for _, test := range []struct {
		kind  interrex.Kind
		again bool
	}{
		{interrex.ErrNotLeader, true}, {interrex.ErrNoLeader, true},
		{interrex.ErrUnavailable, true}, {interrex.ErrDraining, true},
		{interrex.ErrOutcomeUnknown, false}, {interrex.ErrHeld, false},
		{interrex.ErrTimeout, false}, {interrex.ErrOverloaded, false}, {interrex.ErrInvalid, false},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			to := &script{answers: []error{interrex.Errorf(test.kind, "told so")}}
			nd := cluster(t, 1, func(c *Config) {
				c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
				c.Forward = func(context.Context, string) (operations.Forwarder, error) { return to, nil }
			})[0]
			_, err := nd.call(t.Context(), claimOp(0, "a/b", "ann"))
			if again := len(to.calls) == 2; again != test.again {
				t.Errorf("sent %d times: %v", len(to.calls), err)
			}
			if !test.again && interrex.KindOf(err) != test.kind {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAClaimThatIsPassedOverIsNotPutInLineAgain(t *testing.T) {
	to := &script{answers: []error{interrex.Errorf(interrex.ErrUnavailable, "its caller has not asked again")}}
	nd := cluster(t, 1, func(c *Config) {
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (operations.Forwarder, error) { return to, nil }
	})[0]
	op := claimOp(0, "a/b", "ann")
	op.AsksAgain, op.RequestId, op.WaitMs = true, "ann.1", 60_000
	s := nd.stream(t.Context(), nd.url)
	s.send(op)
	a := s.answers(1)[0]
	if len(to.calls) != 1 || !to.calls[0].AsksAgain || a.GetError().GetKind() != string(interrex.ErrUnavailable) {
		t.Errorf("sent %d times, asking again %v: %v", len(to.calls), to.calls[0].AsksAgain, a)
	}
}

type constant struct{ l interrex.Leadership }

func (c constant) Current() interrex.Leadership { return c.l }

func TestSendingAgainEndsWithTheCallersTime(t *testing.T) {
	to := &script{}
	for range 1000 {
		to.answers = append(to.answers, interrex.Errorf(interrex.ErrNotLeader, "not me"))
	}
	nd := cluster(t, 1, func(c *Config) {
		c.LeaderWait = 100 * time.Millisecond
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (operations.Forwarder, error) { return to, nil }
	})[0]
	_, err := nd.call(t.Context(), claimOp(0, "a/b", "ann"))
	if interrex.KindOf(err) != interrex.ErrNotLeader || len(to.calls) < 2 || len(to.calls) > 10 {
		t.Errorf("%d calls, then %v", len(to.calls), err)
	}
}

func TestForcedRevokeIsTheOperators(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := op(0, interrexv1.LeaseServiceRevokeProcedure, &interrexv1.RevokeRequest{Key: "a/b", Force: true})
	if _, err := nd.opened(admission.Caller{Name: "somebody"}, in, time.Now()); interrex.KindOf(err) != interrex.ErrDenied {
		t.Errorf("%v", err)
	}
	if _, err := nd.opened(admission.Caller{Operator: true}, in, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestAWaitCrossesTheHopAndEndsWithItsCaller(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	token := l.claimed("jobs/busy", "ann")
	busy := func(n int) { f.waitFor(func() bool { return l.applier.Waiting(parse("jobs/busy")) == n }) }

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := f.call(ctx, waitOp(0, "jobs/busy", "eve", time.Hour))
		gone <- err
	}()
	busy(1)
	cancel()
	if err := <-gone; err == nil {
		t.Error("the claim of a caller that has gone was granted")
	}
	busy(0)

	won := make(chan *interrexv1.Answer, 1)
	go func() {
		a, _ := f.call(t.Context(), waitOp(0, "jobs/busy", "bob", time.Hour))
		won <- a
	}()
	busy(1)
	revoke := op(0, interrexv1.LeaseServiceRevokeProcedure, &interrexv1.RevokeRequest{Key: "jobs/busy", Token: token})
	if _, err := f.call(t.Context(), revoke); err != nil {
		t.Error(err)
	}
	if a := <-won; as[interrexv1.ClaimResponse](t, a).GetLease().GetHolder() != "bob" {
		t.Errorf("%v", a)
	}
}

func TestNothingHasHappenedIsSaidBeforeTheCallersTimeIsOver(t *testing.T) {
	theirs := time.Now().Add(time.Hour)
	var ours []time.Time
	nd := cluster(t, 1, func(c *Config) {
		c.LeaderWait = 10 * time.Millisecond
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(ctx context.Context, _ string) (operations.Forwarder, error) {
			end, _ := ctx.Deadline()
			ours = append(ours, end)
			return nil, errors.New("no way")
		}
	})[0]
	said := nd.claimedBy(theirs)
	if len(ours) == 0 || slices.ContainsFunc(ours, func(end time.Time) bool { return !end.Equal(theirs.Add(-100 * time.Millisecond)) }) {
		t.Errorf("a caller's time ends at %v, and its operation's at %v: %s", theirs, ours, said)
	}
	nd = cluster(t, 1, func(c *Config) {
		c.LeaderWait = time.Hour
		c.Leadership = constant{interrex.Leadership{Term: 1}}
	})[0]
	if said := nd.claimedBy(time.Now().Add(50 * time.Millisecond)); !strings.Contains(said, string(interrex.ErrNoLeader)) {
		t.Errorf("where nobody leads: %s", said)
	}
}

// claimedBy returns the server's answer to a claim with the deadline end.
func (nd *node) claimedBy(end time.Time) string {
	ctx, cancel := context.WithDeadline(nd.t.Context(), end)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/interrex.v1.LeaseService/Claim", strings.NewReader(`{"key":"a/b","holder":"ann"}`))
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	nd.server.Handler().ServeHTTP(answer, r)
	return answer.Body.String()
}

// silence is a forwarder that answers only abandoned operations.
type silence struct{ script }

func (s *silence) Send(ops []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	for _, op := range ops {
		_ = s.next(op)
	}
	return func(i int) { done(i, nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "abandoned")) }
}

func TestWhatAnotherAgentNeverAnswersIsUnknown(t *testing.T) {
	to := &silence{}
	nd := cluster(t, 1, func(c *Config) {
		c.AnswerWait = 50 * time.Millisecond
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (operations.Forwarder, error) { return to, nil }
	})[0]
	s := nd.stream(t.Context(), nd.url)
	for id := range uint64(3) { // also when nothing else happens on the stream
		in := claimOp(id, "a/b", "ann")
		in.TimeoutMs = 1
		s.send(in)
		if a := s.answers(1)[id]; a.GetError().GetKind() != "outcome unknown" {
			t.Errorf("%v", a)
		}
	}
}

func TestWhatCannotBeForwardedHasNotHappened(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) {
		c.LeaderWait = 50 * time.Millisecond
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (operations.Forwarder, error) { return nil, errors.New("no way") }
	})[0]
	if _, err := nd.call(t.Context(), claimOp(0, "a/b", "ann")); interrex.KindOf(err) != interrex.ErrUnavailable {
		t.Errorf("%v", err)
	}
}

func TestABatchIsForwardedAsABatch(t *testing.T) {
	to := &batches{}
	nd := cluster(t, 1, func(c *Config) {
		c.Leadership = constant{interrex.Leadership{Term: 1, LeaderID: "far"}}
		c.Forward = func(context.Context, string) (operations.Forwarder, error) { return to, nil }
	})[0]
	s := nd.stream(t.Context(), nd.url)
	var ops []*interrexv1.Operation
	for id := range uint64(500) {
		ops = append(ops, claimOp(id, fmt.Sprintf("a/%d", id), "ann"))
	}
	s.send(ops...)
	for id, a := range s.answers(500) {
		if got := as[interrexv1.ClaimResponse](t, a).GetAttempt(); got != uint32(id) {
			t.Errorf("operation %d has the answer of %d", id, got)
		}
	}
	if len(to.sizes) != 1 || to.sizes[0] != 500 {
		t.Errorf("one message went on as %v", to.sizes)
	}
}

// batches answers each operation with its index, in a goroutine of its own.
type batches struct{ sizes []int }

func (b *batches) Send(ops []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	b.sizes = append(b.sizes, len(ops))
	for i := range ops {
		go func() {
			body, err := proto.Marshal(&interrexv1.ClaimResponse{Attempt: uint32(i)})
			done(i, body, err)
		}()
	}
	return func(int) {}
}
