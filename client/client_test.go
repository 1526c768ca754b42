package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

func claim(t testing.TB, c *client.Client) (interrex.LeaseAnswer, error) {
	t.Helper()
	return c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "me"})
}

// first answers the first attempts of every request with the kinds in turn, and
// then as one wishes.
func first(kinds ...interrex.Kind) func(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
	return func(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
		if n := int(op.GetClaim().GetAttempt()); n < len(kinds) {
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
		interrex.KindNoLeader, interrex.KindOutcomeUnknown, interrex.KindUnavailable,
		interrex.KindOverloaded, interrex.KindDraining, interrex.KindTimeout, interrex.KindNotLeader,
	}
	a.set(func(a *agent) { a.answer = first(kinds...) })
	answer, err := claim(t, dial(t, client.Config{}, a))
	if err != nil || answer.Attempt != uint32(len(kinds)) {
		t.Errorf("got %+v, %v", answer, err)
	}
	ops := a.received()
	for i, op := range ops {
		r := op.GetClaim()
		if r.RequestId != ops[0].GetClaim().RequestId || r.Attempt != uint32(i) || op.Mark != 1 || op.Timeout.AsDuration() <= 0 {
			t.Errorf("attempt %d is %v", i, op)
		}
	}
}

func TestARefusalIsFinal(t *testing.T) {
	a := startAgent(t)
	c := dial(t, client.Config{}, a)
	for i, kind := range []interrex.Kind{interrex.KindHeld, interrex.KindNotHeld, interrex.KindInvalid, interrex.KindDenied, interrex.KindVetoed, interrex.KindNotFound} {
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
		a.answer = first(interrex.KindNoLeader, interrex.KindNoLeader, interrex.KindNoLeader, interrex.KindNoLeader)
	})
	c := dial(t, client.Config{}, a)
	_, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, RequestID: "mine", Attempt: 3})
	if !errors.Is(err, interrex.ErrNoLeader) || len(a.received()) != 1 {
		t.Errorf("%d attempts: %v", len(a.received()), err)
	}
	if op := a.received()[0]; op.GetClaim().RequestId != "mine" || op.GetClaim().Attempt != 3 || op.Mark != 0 {
		t.Errorf("sent %v", op)
	}
}

func TestAStreamThatBreaksIsNoFailedCall(t *testing.T) {
	a := startAgent(t)
	broke := make(chan struct{}, 1)
	a.set(func(a *agent) {
		a.answer = func(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
			if c := op.GetClaim(); c != nil && c.Attempt == 0 {
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
		a.answer = func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer { return failing(interrex.KindNoLeader) }
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
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer { return nil } })
	if _, err := claim(t, dial(t, client.Config{Timeout: 50 * time.Millisecond}, a)); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("nobody answers: %v", err)
	}
	a.set(func(a *agent) {
		a.answer = func(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
			if op.GetClaim().GetAttempt() == 0 {
				return failing(interrex.KindOutcomeUnknown)
			}
			return failing(interrex.KindNoLeader)
		}
	})
	if _, err := claim(t, dial(t, client.Config{Timeout: 200 * time.Millisecond}, a)); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("the first attempt is unknown: %v", err)
	}
	a.set(func(a *agent) {
		a.answer = func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer { return failing(interrex.KindNoLeader) }
	})
	if _, err := claim(t, dial(t, client.Config{Timeout: 50 * time.Millisecond}, a)); !errors.Is(err, interrex.ErrNoLeader) {
		t.Errorf("nobody leads: %v", err)
	}
	a.CloseClientConnections()
	a.Close()
	if _, err := claim(t, dial(t, client.Config{Timeout: 50 * time.Millisecond}, a)); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("nobody is there: %v", err)
	}
}

func TestAClientNeverGoesToALowerEpochNorBetweenTwoOfOneNumber(t *testing.T) {
	for _, epoch := range []string{"1-aaaa", "2-bbbb"} {
		for _, oneShot := range []bool{false, true} {
			now, old := startAgent(t), startAgent(t)
			now.set(func(a *agent) { a.epoch = "2-aaaa" })
			old.set(func(a *agent) { a.epoch = epoch })
			c := dial(t, client.Config{Timeout: 300 * time.Millisecond, OneShot: oneShot}, now, old)
			if _, err := claim(t, c); err != nil {
				t.Fatal(err)
			}
			now.set(func(a *agent) {
				a.answer = func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer { return failing(interrex.KindNoLeader) }
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
	a.set(func(a *agent) { a.answer = first(interrex.KindOutcomeUnknown) })
	if answer, err := claim(t, dial(t, client.Config{OneShot: true}, a)); err != nil || answer.Attempt != 1 {
		t.Errorf("got %+v, %v", answer, err)
	}
	plain := regexp.MustCompile("^[0-9a-f]{32}$")
	for _, op := range a.received() {
		if !plain.MatchString(op.GetClaim().RequestId) {
			t.Errorf("the id is %q", op.GetClaim().RequestId)
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
	name, _, _ := strings.Cut(ops[0].GetClaim().RequestId, ".")
	if last := ops[len(ops)-1]; last.GetRetire() != name {
		t.Errorf("the last message is %v, the name %s", last, name)
	}
	if _, err := claim(t, c); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// A late copy of an attempt would be done, perhaps a second time, once the mark
// is forgotten with the name.
func TestANameWithACopyUnderWayIsLeftToAge(t *testing.T) {
	for kind, retired := range map[interrex.Kind]bool{interrex.KindUnavailable: true, interrex.KindHeld: true, interrex.KindOutcomeUnknown: false} {
		a := startAgent(t)
		a.set(func(a *agent) { a.answer = first(kind) })
		c := dial(t, client.Config{}, a)
		_, _ = claim(t, c) // the first attempt is answered so, and a second as it should be
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		ops := a.received()
		if got := ops[len(ops)-1].GetRetire() != ""; got != retired {
			t.Errorf("after %q the name is given back: %v", kind, got)
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
		held := func(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
			if c := op.GetClaim(); c != nil && c.Attempt < 2 {
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
			if r := op.GetClaim(); r != nil && (!op.AsksAgain || r.Attempt != uint32(i) || r.Wait.AsDuration() <= 0) {
				t.Errorf("attempt %d is %v", i, op)
			}
		}
		eventually(t, "it is extended", func() bool {
			ops := a.received()
			return ops[len(ops)-1].GetExtend() != nil
		})
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
	a.set(func(a *agent) { a.refuse = interrex.Errorf(interrex.KindDraining, "bye") })
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
	a.set(func(a *agent) { a.answer = func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer { return nil } })
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
		return ops[len(ops)-1].GetCancel() == ops[0].Id
	})
}

func TestAnAnswerOfAnotherOperationIsNotBelieved(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer {
			return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Extend{Extend: &interrexv1.ExtendResponse{}}}
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
	a := newAgent(t)
	a.EnableHTTP2 = true
	a.StartTLS()
	_, err := claim(t, dial(t, client.Config{Timeout: 500 * time.Millisecond}, a))
	if !errors.Is(err, interrex.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
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
		{}, {Addresses: []string{"localhost:7400"}}, {Addresses: []string{"ftp://x"}}, {Addresses: []string{"http://x/y"}},
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
