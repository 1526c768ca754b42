package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

func h2c() *http.Client {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: t}
}

func newStream(t testing.TB, url string, change func(*callstream.Config)) *callstream.Stream {
	t.Helper()
	c := callstream.Config{HTTP: h2c(), BaseURL: url}
	if change != nil {
		change(&c)
	}
	s, err := callstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		c.HTTP.(*http.Client).CloseIdleConnections()
	})
	return s
}

// request returns an operation of a method.
func request(procedure string, m proto.Message) *interrexv1.Operation {
	method, err := wire.MethodOf(procedure)
	if err != nil {
		panic(err)
	}
	return &interrexv1.Operation{Method: method.Number, Body: answered(m).GetBody()}
}

func revoke(n int) *interrexv1.Operation {
	op := request(interrexv1.LeaseServiceRevokeProcedure, &interrexv1.RevokeRequest{Key: "a/b", Token: uint64(n)})
	op.RequestId = fmt.Sprint("r", n)
	return op
}

func get() *interrexv1.Operation {
	return request(interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: "a/b"})
}

// inFlight makes calls and returns their errors once all are answered.
func inFlight(t testing.TB, s *callstream.Stream, n int, op func(n int) *interrexv1.Operation) func() []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _, errs[i] = s.Call(t.Context(), op(i)) })
	}
	return func() []error {
		all.Wait()
		return errs
	}
}

func TestEveryCallGetsItsOwnAnswerInAnyOrder(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(op *operation) *interrexv1.Answer {
			token := op.GetRevoke().GetToken()
			if token%7 == 0 {
				return failing(interrex.ErrNotHeld)
			}
			return answered(&interrexv1.RevokeResponse{Revision: token})
		}
	})
	s := newStream(t, a.URL, nil)
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			answer, err := s.Call(t.Context(), revoke(i))
			switch {
			case i%7 == 0:
				if !errors.Is(err, interrex.ErrNotHeld) {
					t.Errorf("call %d: %v", i, err)
				}
			case err != nil || !bytes.Equal(answer, answered(&interrexv1.RevokeResponse{Revision: uint64(i)}).GetBody()):
				t.Errorf("call %d: %v, %v", i, answer, err)
			}
		})
	}
	all.Wait()
	if a.streams != 1 {
		t.Errorf("%d streams", a.streams)
	}
}

func TestAStreamThatBreaksUnderAThousandCallsAnswersEachOnceAndConnectsAgain(t *testing.T) {
	a := startAgent(t)
	s := newStream(t, a.URL, nil)
	if _, err := s.Call(t.Context(), revoke(0)); err != nil {
		t.Fatal(err)
	}
	a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return nil } })
	writes, reads := inFlight(t, s, 500, revoke), inFlight(t, s, 500, func(int) *interrexv1.Operation { return get() })
	eventually(t, "all sent", func() bool { return len(a.received()) == 1001 })
	a.set(func(a *agent) { a.answer = granted })
	a.CloseClientConnections()
	for _, err := range writes() {
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Fatalf("a write that was sent: %v", err)
		}
	}
	for _, err := range reads() {
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Fatalf("a read that was sent: %v", err)
		}
	}
	if _, err := s.Call(t.Context(), revoke(0)); err != nil {
		t.Errorf("after the break: %v", err)
	}
}

func TestWithoutAnAgentACallIsUnavailableAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	s := newStream(t, url, nil)
	for range 3 {
		_, err = s.Call(t.Context(), revoke(1))
		if !errors.Is(err, interrex.ErrUnavailable) || interrex.RetryAfter(err) <= 0 {
			t.Errorf("got %v, again after %s", err, interrex.RetryAfter(err))
		}
	}
}

func TestACallerThatGoesIsTold(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return nil } })
	s := newStream(t, a.URL, nil)
	for _, c := range []struct {
		op   *interrexv1.Operation
		want error
	}{{revoke(1), interrex.ErrOutcomeUnknown}, {get(), interrex.ErrOutcomeUnknown}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		before := len(a.received())
		go func() {
			eventually(t, "the operation is there", func() bool { return len(a.received()) > before })
			cancel(errors.New("enough"))
		}()
		if _, err := s.Call(ctx, c.op); !errors.Is(err, c.want) || !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("got %v", err)
		}
		eventually(t, "the cancel is there", func() bool {
			ops := a.received()
			return len(ops) == before+2 && ops[before+1].cancel == ops[before].Id
		})
	}
}

func TestACallerThatHasGoneLeavesRoomForTheNext(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(op *operation) *interrexv1.Answer {
			if op.GetRevoke().GetToken() == 1 {
				return nil
			}
			return granted(op)
		}
	})
	s := newStream(t, a.URL, func(c *callstream.Config) { c.MaxOpen = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "the operation is there", func() bool { return len(a.received()) == 1 })
		cancel()
	}()
	if _, err := s.Call(ctx, revoke(1)); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	if _, err := s.Call(t.Context(), revoke(2)); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// blocked is a network that delivers nothing.
type blocked struct{}

func (blocked) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	_ = r.Body.Close()
	return nil, r.Context().Err()
}

func TestAFullStreamIsOverloaded(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return nil } })
	s := newStream(t, a.URL, func(c *callstream.Config) { c.MaxOpen = 3 })
	all := inFlight(t, s, 3, revoke)
	eventually(t, "all sent", func() bool { return len(a.received()) == 3 })
	if _, err := s.Call(t.Context(), revoke(4)); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	_ = s.Close()
	for _, err := range all() {
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Errorf("open at Close: %v", err)
		}
	}
	if _, err := s.Call(t.Context(), revoke(5)); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

func TestARefusedStreamRefusesItsCalls(t *testing.T) {
	for _, kind := range []interrex.Kind{interrex.ErrUnauthenticated, interrex.ErrDenied, interrex.ErrDraining} {
		a := startAgent(t)
		a.set(func(a *agent) { a.refuse = interrex.Errorf(kind, "go away") })
		s := newStream(t, a.URL, nil)
		_, err := s.Call(t.Context(), revoke(1))
		switch got := interrex.KindOf(err); {
		case got == kind:
		case kind == interrex.ErrDraining && got == interrex.ErrUnavailable: // for now: another agent will do
		default:
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestNothingIsSentToAnAgentWhoseHeadersAreNotAccepted(t *testing.T) {
	a := startAgent(t)
	s := newStream(t, a.URL, func(c *callstream.Config) {
		c.Accept = func(http.Header) error { return interrex.Errorf(interrex.ErrUnavailable, "another cluster") }
	})
	if _, err := s.Call(t.Context(), revoke(1)); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if n := len(a.received()); n != 0 {
		t.Errorf("%d operations were sent", n)
	}
}

func TestNothingHasHappenedWhenNoConnectionCameAbout(t *testing.T) {
	s := newStream(t, "http://192.0.2.1:1", func(c *callstream.Config) { c.HTTP = &http.Client{Transport: blocked{}} })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Call(ctx, revoke(1)); !errors.Is(err, interrex.ErrTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestAnAgentThatSendsNoHeadersIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStream(t, "http://192.0.2.1:1", func(c *callstream.Config) { c.HTTP = &http.Client{Transport: blocked{}} })
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.Call(ctx, revoke(1))
		if waited := time.Since(begin); !errors.Is(err, interrex.ErrUnavailable) || !strings.Contains(err.Error(), "within 5s") || waited != 5*time.Second {
			t.Errorf("after %v: %v", waited, err)
		}
	})
}

func TestAStreamSaysWhatItLacks(t *testing.T) {
	for _, c := range []callstream.Config{{}, {HTTP: http.DefaultClient}, {HTTP: http.DefaultClient, BaseURL: "x", MaxOpen: -1}} {
		if _, err := callstream.New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
