package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/wire"
)

func claim(t testing.TB, c *client.Client) (interrex.LeaseAnswer, error) {
	t.Helper()
	return c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "me"})
}

// first answers the first attempts of every request with the kinds in turn, and the
// next with success.
func first(kinds ...interrex.Kind) func(op *operation) *interrexv1.Answer {
	return func(op *operation) *interrexv1.Answer {
		if n := int(op.Attempt); n < len(kinds) {
			return failing(kinds[n])
		}
		return granted(op)
	}
}

func TestEveryMethodIsAnswered(t *testing.T) {
	l := dial(t, client.Config{}, startAgent(t)).Leases()
	ctx := t.Context()
	check := func(what string, token interrex.Token, err error) {
		t.Helper()
		if err != nil || token != 7 {
			t.Errorf("%s: token %d, %v", what, token, err)
		}
	}
	a, err := l.Claim(ctx, interrex.ClaimRequest{Key: key})
	check("claim", a.Lease.Token, err)
	a, err = l.Extend(ctx, interrex.ExtendRequest{Key: key, Token: 7})
	check("extend", a.Lease.Token, err)
	a, err = l.Transfer(ctx, interrex.TransferRequest{Key: key, Token: 7, To: "you"})
	check("transfer", a.Lease.Token, err)
	a, err = l.Pin(ctx, interrex.PinRequest{Key: key, Owner: "ops"})
	check("pin", a.Lease.Token, err)
	a, err = l.Unpin(ctx, interrex.PinRequest{Key: key, Owner: "ops"})
	check("unpin", a.Lease.Token, err)
	got, revision, err := l.Get(ctx, key, interrex.ReadOptions{})
	check("get", got.Token, err)
	check("get's revision", interrex.Token(revision), nil)
	page, err := l.List(ctx, interrex.ListRequest{})
	check("list", page.Items[0].Token, err)
	items, revision, err := l.History(ctx, key)
	check("history", items[0].Token, err)
	check("history's revision", interrex.Token(revision), nil)
	if r, err := l.Revoke(ctx, interrex.RevokeRequest{Key: key, Token: 7}); err != nil || r.Revision != 8 {
		t.Errorf("revoke: %v, %v", r, err)
	}
}

func TestARequestIsAskedAgainUnderItsID(t *testing.T) {
	a := startAgent(t)
	kinds := []interrex.Kind{
		interrex.ErrNoLeader, interrex.ErrOutcomeUnknown, interrex.ErrUnavailable,
		interrex.ErrOverloaded, interrex.ErrDraining, interrex.ErrTimeout, interrex.ErrNotLeader,
	}
	a.set(func(a *agent) { a.answer = first(kinds...) })
	answer, err := claim(t, dial(t, client.Config{}, a))
	if err != nil || answer.Attempt != uint32(len(kinds)) {
		t.Errorf("got %+v, %v", answer, err)
	}
	ops := a.received()
	for i, op := range ops {
		if op.RequestId != ops[0].RequestId || op.Attempt != uint32(i) || op.Mark != 1 || op.TimeoutMs == 0 {
			t.Errorf("attempt %d is %v", i, op)
		}
	}
}

// A request whose name is gone goes on under another one if nothing was done of it,
// whatever was not answered.
func TestARequestWhoseNameIsGone(t *testing.T) {
	for _, lost := range []uint64{1, 2} {
		a := startAgent(t)
		a.set(func(a *agent) {
			said := []interrex.Kind{interrex.ErrOutcomeUnknown, interrex.ErrNameGone}
			a.answer = func(op *operation) *interrexv1.Answer {
				if len(said) == 0 {
					return granted(op)
				}
				answer := failing(said[0])
				if said[0] == interrex.ErrNameGone {
					answer.GetError().Lost = lost
				}
				said = said[1:]
				return answer
			}
		})
		answer, err := claim(t, dial(t, client.Config{}, a))
		ops := a.received()
		if lost == 2 { // after the name was opened
			if interrex.KindOf(err) != interrex.ErrOutcomeUnknown || len(ops) != 2 {
				t.Errorf("with %d lost: %v, %d attempts", lost, err, len(ops))
			}
			continue
		}
		if err != nil || answer.Attempt != 0 || len(ops) != 3 || ops[2].RequestId == ops[1].RequestId || ops[2].Attempt != 0 {
			t.Errorf("with %d lost: %+v, %v, %v", lost, answer, err, ops)
		}
	}
}

// A claim that waits goes on, too.
func TestAWaitWhoseNameIsGone(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		first := true
		a.answer = func(op *operation) *interrexv1.Answer {
			if first {
				first = false
				answer := failing(interrex.ErrNameGone)
				answer.GetError().Lost = 1
				return answer
			}
			return granted(op)
		}
	})
	c := dial(t, client.Config{}, a)
	if answer, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Wait: time.Minute}); err != nil || answer.Lease.Token != 7 {
		t.Errorf("%+v, %v", answer, err)
	}
	if ops := a.received(); len(ops) != 2 || ops[0].RequestId == ops[1].RequestId || ops[1].Attempt != 1 || ops[1].Mark != 1 {
		t.Errorf("it sent %v", ops)
	}
}

// What an agent says of a record that was dropped is its last word.
func TestAnOutcomeWhoseRecordWasDroppedStaysUnknown(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(*operation) *interrexv1.Answer {
			answer := failing(interrex.ErrOutcomeUnknown)
			answer.GetError().Lost = 9
			return answer
		}
	})
	if _, err := claim(t, dial(t, client.Config{OneShot: true}, a)); !errors.Is(err, interrex.ErrOutcomeUnknown) || len(a.received()) != 1 {
		t.Errorf("%d attempts: %v", len(a.received()), err)
	}
}

func TestARefusalIsFinal(t *testing.T) {
	a := startAgent(t)
	c := dial(t, client.Config{}, a)
	for i, kind := range []interrex.Kind{interrex.ErrHeld, interrex.ErrNotHeld, interrex.ErrInvalid, interrex.ErrDenied, interrex.ErrVetoed, interrex.ErrNotFound} {
		a.set(func(a *agent) { a.answer = first(kind) })
		if _, err := claim(t, c); interrex.KindOf(err) != kind {
			t.Errorf("%s: %v", kind, err)
		}
		if n := len(a.received()); n != i+1 {
			t.Errorf("%s: %d attempts", kind, n)
		}
	}
}

func TestARequestWithItsCallersIDIsOneAttempt(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = first(interrex.ErrNoLeader, interrex.ErrNoLeader, interrex.ErrNoLeader, interrex.ErrNoLeader)
	})
	c := dial(t, client.Config{}, a)
	_, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, RequestID: "mine", Attempt: 3})
	if !errors.Is(err, interrex.ErrNoLeader) || len(a.received()) != 1 {
		t.Errorf("%d attempts: %v", len(a.received()), err)
	}
	if op := a.received()[0]; op.RequestId != "mine" || op.Attempt != 3 || op.Mark != 0 {
		t.Errorf("sent %v", op)
	}
}

func TestAStreamThatBreaksIsNoFailedCall(t *testing.T) {
	a := startAgent(t)
	broke := make(chan struct{}, 1)
	a.set(func(a *agent) {
		a.answer = func(op *operation) *interrexv1.Answer {
			if op.GetClaim() != nil && op.Attempt == 0 {
				broke <- struct{}{}
				return nil
			}
			return granted(op)
		}
	})
	go func() {
		<-broke
		a.CloseClientConnections()
	}()
	if answer, err := claim(t, dial(t, client.Config{}, a)); err != nil || answer.Attempt == 0 {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestTheNextAddressIsTried(t *testing.T) {
	dead, sick, well := startAgent(t), startAgent(t), startAgent(t)
	dead.Close()
	sick.set(func(a *agent) {
		a.answer = func(*operation) *interrexv1.Answer { return failing(interrex.ErrNoLeader) }
	})
	c := dial(t, client.Config{}, dead, sick, well)
	for range 2 {
		if _, err := claim(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if n, m := len(sick.received()), len(well.received()); n != 1 || m != 2 {
		t.Errorf("the sick agent was asked %d times, the well one %d times", n, m)
	}
}

func TestTimeThatIsOverIsAnUnknownOutcomeOnlyIfSomethingWasSent(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return nil } })
	if _, err := claim(t, dial(t, client.Config{Timeout: time.Second}, a)); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("nobody answers: %v", err)
	}
	a.set(func(a *agent) {
		a.answer = func(op *operation) *interrexv1.Answer {
			if op.Attempt == 0 {
				return failing(interrex.ErrOutcomeUnknown)
			}
			return failing(interrex.ErrNoLeader)
		}
	})
	if _, err := claim(t, dial(t, client.Config{Timeout: time.Second}, a)); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("the first attempt is unknown: %v", err)
	}
	a.set(func(a *agent) {
		a.answer = func(*operation) *interrexv1.Answer { return failing(interrex.ErrNoLeader) }
	})
	if _, err := claim(t, dial(t, client.Config{Timeout: time.Second}, a)); !errors.Is(err, interrex.ErrNoLeader) {
		t.Errorf("nobody leads: %v", err)
	}
	a.CloseClientConnections()
	a.Close()
	if _, err := claim(t, dial(t, client.Config{Timeout: time.Second}, a)); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("nobody is there: %v", err)
	}
}

func TestAnAgentHasLessTimeThanItsCaller(t *testing.T) {
	for timeout, atMost := range map[time.Duration]uint32{
		time.Minute:            2900, // an attempt has three seconds
		2 * time.Second:        1900,
		500 * time.Millisecond: 450, // a tenth is kept of a short time
	} {
		a := startAgent(t)
		if _, err := claim(t, dial(t, client.Config{Timeout: timeout}, a)); err != nil {
			t.Fatal(err)
		}
		if got := a.received()[0].TimeoutMs; got == 0 || got > atMost {
			t.Errorf("of %v the agent gets %d ms, want at most %d", timeout, got, atMost)
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		_, err := dial(t, client.Config{Timeout: time.Hour}, a).Leases().Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Name: "n"}, TTL: time.Minute})
		cancel()
		if got := a.received()[1].TimeoutMs; err != nil || got == 0 || got > atMost {
			t.Errorf("of its caller's %v the agent gets %d ms, want at most %d: %v", timeout, got, atMost, err)
		}
	}
}

func TestAllAgentsAreAskedBeforeThePauseAndNotWithoutOne(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	for _, each := range []*agent{a, b} {
		each.set(func(a *agent) {
			a.answer = func(*operation) *interrexv1.Answer { return failing(interrex.ErrNoLeader) }
		})
	}
	if _, err := claim(t, dial(t, client.Config{Timeout: 300 * time.Millisecond}, a, b)); err == nil {
		t.Error("nobody leads")
	}
	// The pauses after each round are at least 10, 20, 40, 80 and 160 ms.
	if n, m := len(a.received()), len(b.received()); n > 5 || m > 5 {
		t.Errorf("in 300 ms one was asked %d times, the other %d times", n, m)
	}
}

// reasons is a logger that records why a request is retried.
type reasons []error

func (r *reasons) Debugf(format string, args ...any) {
	if !strings.Contains(format, "retrying") {
		return
	}
	for _, a := range args {
		if err, is := a.(error); is {
			*r = append(*r, err)
		}
	}
}

func (r *reasons) Criticalf(string, ...any) {}
func (r *reasons) Errorf(string, ...any)    {}
func (r *reasons) Infof(string, ...any)     {}
func (r *reasons) Warningf(string, ...any)  {}

func TestTimeThatIsOverIsNotTheReasonWhereAnotherIsKnown(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = first(interrex.ErrNoLeader, interrex.ErrTimeout) })
	var told reasons
	if _, err := claim(t, dial(t, client.Config{Logger: &told}, a)); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || !errors.Is(told[0], interrex.ErrNoLeader) || !errors.Is(told[1], interrex.ErrNoLeader) {
		t.Errorf("asked again because of %v", told)
	}
}

func TestAnAgentThatIsOverloadedIsNotLeft(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	a.set(func(a *agent) { a.answer = first(interrex.ErrOverloaded) })
	if _, err := claim(t, dial(t, client.Config{}, a, b)); err != nil {
		t.Fatal(err)
	}
	if n, m := len(a.received()), len(b.received()); n != 2 || m != 0 {
		t.Errorf("it was asked %d times, the other %d times", n, m)
	}
}

func TestAnAgentSaysWhenToAskAgain(t *testing.T) {
	a := startAgent(t)
	later := failing(interrex.ErrNoLeader)
	later.GetError().RetryAfter = durationpb.New(time.Hour) // more than the call has
	a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return proto.CloneOf(later) } })
	if _, err := claim(t, dial(t, client.Config{Timeout: 2 * time.Second}, a)); !errors.Is(err, interrex.ErrNoLeader) || len(a.received()) != 1 {
		t.Errorf("asked %d times: %v", len(a.received()), err)
	}
}

func TestAWatchIsNoMethodToCall(t *testing.T) {
	a := startAgent(t)
	c := dial(t, client.Config{}, a)
	_, err := client.Call[interrexv1.WatchRequest, interrexv1.LeaseEvent](t.Context(), c, interrexv1.LeaseServiceWatchProcedure, &interrexv1.WatchRequest{}, client.Options{})
	if !errors.Is(err, interrex.ErrInvalid) || len(a.received()) != 0 {
		t.Errorf("%d operations: %v", len(a.received()), err)
	}
}

func TestAClientThatMeetsAnotherClusterSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	a := startAgent(t)
	a.set(func(a *agent) { a.epoch = "1-aaaa" })
	c := dial(t, client.Config{Timeout: time.Second, OneShot: true}, a)
	if _, err := claim(t, c); err != nil {
		t.Fatal(err)
	}
	a.set(func(a *agent) { a.epoch = "1-bbbb" })
	_, err := claim(t, c)
	if err == nil || !strings.Contains(err.Error(), "belongs to another cluster") || !strings.Contains(err.Error(), "make a new client") {
		t.Errorf("got %v", err)
	}
}

func TestAClientNeverGoesToALowerEpochNorBetweenTwoOfOneNumber(t *testing.T) {
	t.Parallel()
	for _, epoch := range []string{"1-aaaa", "2-bbbb"} {
		for _, oneShot := range []bool{false, true} {
			now, old := startAgent(t), startAgent(t)
			now.set(func(a *agent) { a.epoch = "2-aaaa" })
			old.set(func(a *agent) { a.epoch = epoch })
			c := dial(t, client.Config{Timeout: time.Second, OneShot: oneShot}, now, old)
			if _, err := claim(t, c); err != nil {
				t.Fatal(err)
			}
			now.set(func(a *agent) {
				a.answer = func(*operation) *interrexv1.Answer { return failing(interrex.ErrNoLeader) }
			})
			if _, err := claim(t, c); err == nil {
				t.Errorf("epoch %s after 2-aaaa was believed (one-shot: %v)", epoch, oneShot)
			}
			if n := len(old.received()); n != 0 && !oneShot {
				t.Errorf("%d operations were sent to epoch %s", n, epoch)
			}
			now.set(func(a *agent) { a.answer = granted })
			if _, err := claim(t, c); err != nil {
				t.Errorf("back in its own epoch: %v", err)
			}
		}
	}
}

func TestOneShotCallsAreUnaryWithPlainIDs(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = first(interrex.ErrOutcomeUnknown) })
	if answer, err := claim(t, dial(t, client.Config{OneShot: true}, a)); err != nil || answer.Attempt != 1 {
		t.Errorf("got %+v, %v", answer, err)
	}
	plain := regexp.MustCompile("^[A-Z2-7]{26}@42$")
	for _, op := range a.received() {
		if !plain.MatchString(op.RequestId) || op.KnownRevision != 42 {
			t.Errorf("the id is %q, known was %d", op.RequestId, op.KnownRevision)
		}
	}
	if a.unary != 2 || a.streams != 0 {
		t.Errorf("%d unary calls, %d streams", a.unary, a.streams)
	}
}

func TestAClientGivesItsNamesBack(t *testing.T) {
	a := startAgent(t)
	c := dial(t, client.Config{}, a)
	if _, err := claim(t, c); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ops := a.received()
	name, _, _ := strings.Cut(ops[0].RequestId, ".")
	last := ops[len(ops)-1]
	if m, _ := last.request.(*interrexv1.RetireRequest); last.GetRetire() != name || m.GetMark() != 2 {
		t.Errorf("the last message is %v, the name %s", last, name)
	}
	if _, err := claim(t, c); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// An id that was given may have been used by an earlier command: with what was known
// then, or else it is a repeated attempt.
func TestAGivenIDIsPerhapsRepeated(t *testing.T) {
	const random = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for id, want := range map[string]struct {
		known   uint64
		attempt uint32
	}{
		"mine": {0, 1}, "job@7": {0, 1}, random + "@7": {7, 0}, random: {0, 1}, random + "@x": {0, 1}, strings.ToLower(random) + "@7": {0, 1},
	} {
		a := startAgent(t)
		if _, err := claim(t, dial(t, client.Config{OneShot: true, RequestID: id}, a)); err != nil {
			t.Fatal(err)
		}
		if op := a.received()[0]; op.RequestId != id || op.KnownRevision != want.known || op.Attempt != want.attempt {
			t.Errorf("%s: sent %v", id, op)
		}
	}
}

func TestAClientThatWroteNothingGivesNothingBack(t *testing.T) {
	a := startAgent(t)
	c := dial(t, client.Config{}, a)
	if _, _, err := c.Leases().Get(t.Context(), key, interrex.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if n := len(a.received()); n != 1 {
		t.Errorf("%d operations", n)
	}
}

func TestAHoldAsksAgainOverTheStream(t *testing.T) {
	for _, oneShot := range []bool{false, true} {
		a := startAgent(t)
		held := func(op *operation) *interrexv1.Answer {
			if op.GetClaim() != nil && op.Attempt < 2 {
				return nil // it stands in line
			}
			return granted(op)
		}
		a.set(func(a *agent) { a.answer = held })
		c := dial(t, client.Config{OneShot: oneShot}, a)
		h, err := c.Leases().Hold(t.Context(), key.String(), interrex.HoldOptions{TTL: 400 * time.Millisecond, Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for i, op := range a.received() {
			if op.GetClaim() != nil && (!op.AsksAgain || op.Attempt != uint32(i) || op.WaitMs == 0 || op.TimeoutMs != 0) {
				t.Errorf("attempt %d is %v", i, op)
			}
		}
		eventually(t, "it is extended", func() bool {
			ops := a.received()
			return ops[len(ops)-1].GetExtend() != nil
		})
		if ops := a.received(); ops[len(ops)-1].TimeoutMs != 200 {
			t.Errorf("an extend, of which half the TTL is worth nothing, has %d ms", ops[len(ops)-1].TimeoutMs)
		}
		if err := h.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAHoldIsExtendedAtAnotherAgentWhenItsOwnIsGone(t *testing.T) {
	a, b := startAgent(t), startAgent(t)
	c := dial(t, client.Config{}, a, b)
	h, err := c.Leases().Hold(t.Context(), key.String(), interrex.HoldOptions{TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	a.set(func(a *agent) { a.refuse = interrex.Errorf(interrex.ErrDraining, "bye") })
	a.CloseClientConnections()
	eventually(t, "it is extended at the other agent", func() bool {
		ops := b.received()
		return len(ops) > 0 && ops[len(ops)-1].GetExtend() != nil
	})
	if h.Context().Err() != nil {
		t.Errorf("the hold has ended: %v", context.Cause(h.Context()))
	}
	if err := h.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAClaimThatWaitsIsCancelledWhenItsCallerGoes(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return nil } })
	c := dial(t, client.Config{}, a)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "it stands in line", func() bool { return len(a.received()) > 0 })
		cancel()
	}()
	_, err := c.Leases().Claim(ctx, interrex.ClaimRequest{Key: key, Wait: time.Minute})
	if !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the cancel is there", func() bool {
		ops := a.received()
		return slices.ContainsFunc(ops, func(op *operation) bool { return op.cancel == ops[0].Id })
	})
}

func TestAnAnswerThatCannotBeReadIsNotBelieved(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(*operation) *interrexv1.Answer {
			return &interrexv1.Answer{Result: &interrexv1.Answer_Body{Body: []byte{0xff}}}
		}
	})
	if _, err := claim(t, dial(t, client.Config{}, a)); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestAnAgentIsReachedOverItsSocket(t *testing.T) {
	a := newAgent(t)
	path := filepath.Join(t.TempDir(), "interrex.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Listener.Close()
	a.Listener = l
	a.Start()
	if _, err := claim(t, dial(t, client.Config{Addresses: []string{"unix://" + path}})); err != nil {
		t.Error(err)
	}
}

func TestAnAgentOfAnUnknownCertificateIsUnavailable(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.EnableHTTP2 = true
	a.StartTLS()
	_, err := claim(t, dial(t, client.Config{Timeout: 5 * time.Second}, a))
	if !errors.Is(err, interrex.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

// clearServer serves HTTP/2 without TLS.
func clearServer(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	return s
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	elsewhere := clearServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	redirecting := clearServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	token := accesstoken.New().String()
	for _, once := range []bool{false, true} {
		c := dial(t, client.Config{Addresses: []string{redirecting.URL}, Token: token, OneShot: once, Timeout: 2 * time.Second})
		_, claimed := claim(t, c)
		_, status := c.Status(t.Context())
		for what, err := range map[string]error{"a claim": claimed, "status": status} {
			if err == nil || !strings.Contains(err.Error(), "is not an agent: it redirects to "+elsewhere.URL) {
				t.Errorf("%s (one shot: %v): %v", what, once, err)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

func TestTheEngineIsAskedOfWhoAnswers(t *testing.T) {
	dead, well := startAgent(t), startAgent(t)
	dead.Close()
	c := dial(t, client.Config{}, dead, well)
	if m, err := c.Status(t.Context()); err != nil || m.Id != well.URL {
		t.Errorf("status: %v, %v", m, err)
	}
	if err := c.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	well.set(func(a *agent) { a.ready = http.StatusServiceUnavailable })
	if err := c.Health(t.Context()); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("health of an agent that is not ready: %v", err)
	}
	if _, err := dial(t, client.Config{}, well).Report(t.Context()); !errors.Is(err, interrex.ErrDisabled) {
		t.Errorf("an agent without a report: %v", err)
	}
	if changed, err := dial(t, client.Config{}, well).Reload(t.Context()); err != nil || !reflect.DeepEqual(changed, []string{"raft"}) {
		t.Errorf("reload: %v, %v", changed, err)
	}
	if _, err := c.Reload(t.Context()); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("a reload went to another agent: %v", err)
	}
}

func TestWhatIsMalformedIsSaid(t *testing.T) {
	for _, c := range []client.Config{
		{}, {Addresses: []string{"localhost"}}, {Addresses: []string{"ftp://x"}}, {Addresses: []string{"http://x/y"}},
		{Addresses: []string{"unix://x"}}, {Addresses: []string{"http://x"}, Timeout: -1},
		{Addresses: []string{"http://x"}, TLS: client.TLSFiles{Cert: "c"}}, {Addresses: []string{"https://x"}, TLS: client.TLSFiles{CA: "/none"}},
		{Addresses: []string{"http://x"}, Holder: "\n"},
	} {
		if d, err := client.Dial(t.Context(), c); err == nil {
			_ = d.Close()
			t.Errorf("%+v was taken", c)
		}
	}
	c := dial(t, client.Config{}, startAgent(t))
	if _, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Wait: 2 * time.Hour}); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a wait of two hours: %v", err)
	}
}

func TestEveryFieldOfARequestIsSent(t *testing.T) {
	a := startAgent(t)
	l := dial(t, client.Config{}, a).Leases()
	ctx, fence := t.Context(), interrex.Fence{Key: key, Token: 5}
	read := interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: 9}
	second := durationpb.New(time.Second)
	for i, c := range []struct {
		call     func() error
		request  proto.Message
		envelope *interrexv1.Operation
	}{
		{func() error {
			_, err := l.Claim(ctx, interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Second, Takeover: true, Metadata: map[string]string{"a": "b"}, RequestID: "x", Attempt: 3, Fence: fence})
			return err
		}, &interrexv1.ClaimRequest{Key: "mine/leader", Holder: "ann", Ttl: second, Takeover: true, Metadata: map[string]string{"a": "b"}},
			&interrexv1.Operation{RequestId: "x", Attempt: 3, Fence: &interrexv1.Fence{Key: "mine/leader", Token: 5}}},
		{func() error {
			_, err := l.Claim(ctx, interrex.ClaimRequest{Key: key, Holder: "ann", RequestID: "x", Attempt: 3, Wait: time.Minute})
			return err
		}, &interrexv1.ClaimRequest{Key: "mine/leader", Holder: "ann"}, &interrexv1.Operation{RequestId: "x", Attempt: 3, WaitMs: 60_000, AsksAgain: true}},
		{func() error {
			_, err := l.Extend(ctx, interrex.ExtendRequest{Key: key, Token: 4, TTL: time.Second})
			return err
		}, &interrexv1.ExtendRequest{Key: "mine/leader", Token: 4, Ttl: second}, &interrexv1.Operation{}},
		{func() error {
			_, err := l.Revoke(ctx, interrex.RevokeRequest{Key: key, Token: 4, Force: true, RequestID: "y", Attempt: 1})
			return err
		}, &interrexv1.RevokeRequest{Key: "mine/leader", Token: 4, Force: true}, &interrexv1.Operation{RequestId: "y", Attempt: 1}},
		{func() error {
			_, err := l.Transfer(ctx, interrex.TransferRequest{Key: key, Token: 4, To: "bob", TTL: time.Second, RequestID: "z", Attempt: 2})
			return err
		}, &interrexv1.TransferRequest{Key: "mine/leader", Token: 4, To: "bob", Ttl: second}, &interrexv1.Operation{RequestId: "z", Attempt: 2}},
		{func() error {
			_, err := l.Pin(ctx, interrex.PinRequest{Key: key, Owner: "ops", Reason: "disk", For: time.Second, RequestID: "p", Attempt: 2})
			return err
		}, &interrexv1.PinRequest{Key: "mine/leader", Owner: "ops", Reason: "disk", For: second}, &interrexv1.Operation{RequestId: "p", Attempt: 2}},
		{func() error {
			_, err := l.Unpin(ctx, interrex.PinRequest{Key: key, Owner: "ops", RequestID: "u", Attempt: 2})
			return err
		}, &interrexv1.UnpinRequest{Key: "mine/leader", Owner: "ops"}, &interrexv1.Operation{RequestId: "u", Attempt: 2}},
		{func() error { _, _, err := l.Get(ctx, key, read); return err },
			&interrexv1.GetRequest{Key: "mine/leader", Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL, MinRevision: 9}, &interrexv1.Operation{}},
		{func() error {
			_, err := l.List(ctx, interrex.ListRequest{Namespace: "mine", Prefix: "a", PageSize: 3, PageToken: "x", ReadOptions: read})
			return err
		}, &interrexv1.ListRequest{Namespace: "mine", Prefix: "a", PageSize: 3, PageToken: "x", Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL, MinRevision: 9}, &interrexv1.Operation{}},
		{func() error { _, _, err := l.History(ctx, key); return err }, &interrexv1.HistoryRequest{Key: "mine/leader"}, &interrexv1.Operation{}},
	} {
		if err := c.call(); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
		got := a.received()[i]
		if !proto.Equal(got.request, c.request) {
			t.Errorf("call %d sends %v, want %v", i, got.request, c.request)
		}
		envelope := &interrexv1.Operation{RequestId: got.RequestId, Attempt: got.Attempt, WaitMs: got.WaitMs, AsksAgain: got.AsksAgain, Fence: got.Fence}
		if !proto.Equal(envelope, c.envelope) {
			t.Errorf("call %d sends with %v, want %v", i, envelope, c.envelope)
		}
	}
}

func TestEveryFieldOfAnAnswerIsRead(t *testing.T) {
	when := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	held := interrex.Lease{Key: key, Holder: "ann", Token: 7, TTL: time.Second, AcquiredAt: when, Remaining: time.Second, ExpiresAt: when, Metadata: map[string]string{"a": "b"}}
	a := startAgent(t)
	l := dial(t, client.Config{}, a).Leases()
	ctx := t.Context()
	answer := func(m proto.Message) {
		a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return answered(m) } })
	}
	equal := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	answer(&interrexv1.ClaimResponse{Lease: wire.Lease(held), Attempt: 4, Replayed: true, Revision: 9})
	claimed, err := l.Claim(ctx, interrex.ClaimRequest{Key: key})
	equal("claim", claimed, interrex.LeaseAnswer{Lease: held, Attempt: 4, Replayed: true, Revision: 9}, err)
	answer(&interrexv1.ExtendResponse{Lease: wire.Lease(held), Revision: 9})
	extended, err := l.Extend(ctx, interrex.ExtendRequest{Key: key, Token: 7})
	equal("extend", extended, interrex.LeaseAnswer{Lease: held, Revision: 9}, err)
	answer(&interrexv1.UnpinResponse{Replayed: true, Revision: 9})
	unpinned, err := l.Unpin(ctx, interrex.PinRequest{Key: key, Owner: "ops"})
	equal("unpin", unpinned, interrex.LeaseAnswer{Replayed: true, Revision: 9}, err)
	answer(&interrexv1.RevokeResponse{HolderUntil: wire.Timestamp(when), Replayed: true, Revision: 9})
	revoked, err := l.Revoke(ctx, interrex.RevokeRequest{Key: key, Token: 7})
	equal("revoke", revoked, interrex.RevokeAnswer{HolderUntil: when, Replayed: true, Revision: 9}, err)
	answer(&interrexv1.ListResponse{Items: []*interrexv1.Lease{wire.Lease(held)}, NextPageToken: "x", Revision: 9})
	page, err := l.List(ctx, interrex.ListRequest{})
	equal("list", page, interrex.Page[interrex.Lease]{Items: []interrex.Lease{held}, NextPageToken: "x", Revision: 9}, err)
	past := interrex.PastLease{Holder: "ann", Token: 3, AcquiredAt: when, EndedAt: when, How: interrex.EndForced}
	answer(&interrexv1.HistoryResponse{Items: []*interrexv1.HistoryItem{wire.PastLease(past)}, Revision: 9})
	items, revision, err := l.History(ctx, key)
	equal("history", items, []interrex.PastLease{past}, err)
	equal("history's revision", revision, interrex.Revision(9), err)
	answer(&interrexv1.GetResponse{Lease: wire.Lease(held), Revision: 9})
	got, revision, err := l.Get(ctx, key, interrex.ReadOptions{})
	equal("get", got, held, err)
	equal("get's revision", revision, interrex.Revision(9), err)
}
