package client_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

func answering(k interrex.Kind) func(a *agent) {
	return func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return failing(k) } }
}

// ways are the ways to make a claim that does not wait.
func ways(c *client.Client) map[string]func(context.Context) error {
	l := c.Leases()
	return map[string]func(context.Context) error{
		"claim": func(ctx context.Context) error {
			_, err := l.Claim(ctx, interrex.ClaimRequest{Key: key})
			return err
		},
		"hold": func(ctx context.Context) error {
			_, err := l.Hold(ctx, key.String(), interrex.HoldOptions{})
			return err
		},
	}
}

func TestTheMostTellingErrorWins(t *testing.T) {
	sick, dead, gone := startAgent(t), startAgent(t), startAgent(t)
	sick.set(answering(interrex.ErrNoLeader))
	dead.Close()
	gone.Close()
	for _, oneShot := range []bool{true, false} {
		c := dial(t, client.Config{Timeout: time.Second, OneShot: oneShot}, sick, dead, gone)
		for name, claim := range ways(c) {
			if err := claim(t.Context()); !errors.Is(err, interrex.ErrNoLeader) || strings.Contains(err.Error(), "no agent answers") {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key})
		for _, p := range []*agent{dead, gone} {
			if want := p.URL + ": connection refused"; !strings.Contains(err.Error(), want) {
				t.Errorf("%v: want %q in it", err, want)
			}
		}
	}
}

func TestThatNobodyAnswersNamesEachAddress(t *testing.T) {
	dead, gone := startAgent(t), startAgent(t)
	dead.Close()
	gone.Close()
	for _, oneShot := range []bool{true, false} {
		c := dial(t, client.Config{Timeout: time.Second, OneShot: oneShot}, dead, gone)
		all := ways(c)
		all["status"] = func(ctx context.Context) error { _, err := c.Status(ctx); return err }
		want := "unavailable: no agent answers at " + dead.URL + ": connection refused; " + gone.URL + ": connection refused; is an agent running?"
		for name, ask := range all {
			if err := ask(t.Context()); !errors.Is(err, interrex.ErrUnavailable) || err.Error() != want {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAnAgentThatDoesNotServeAMethodIsPassedOver(t *testing.T) {
	off, well := startAgent(t), startAgent(t)
	off.set(answering(interrex.ErrDisabled))
	for _, oneShot := range []bool{true, false} {
		for _, name := range []string{"claim", "hold"} {
			c := dial(t, client.Config{OneShot: oneShot}, off, well)
			if err := ways(c)[name](t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	well.set(answering(interrex.ErrDisabled))
	for name, claim := range ways(dial(t, client.Config{}, off, well)) {
		n := len(off.received()) + len(well.received())
		if err := claim(t.Context()); !errors.Is(err, interrex.ErrDisabled) {
			t.Errorf("%s: %v", name, err)
		}
		if m := len(off.received()) + len(well.received()) - n; m != 2 {
			t.Errorf("%s: %d attempts at two agents", name, m)
		}
	}
}

func TestACallWhoseContextHasEndedSendsNothing(t *testing.T) {
	a := startAgent(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, claim := range ways(dial(t, client.Config{}, a)) {
		if err := claim(ctx); !errors.Is(err, interrex.ErrTimeout) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(a.received()); n != 0 {
		t.Errorf("%d operations were sent", n)
	}
}

func TestAnUnknownOutcomeOfAOneShotClientNamesItsRequest(t *testing.T) {
	a := startAgent(t)
	a.set(answering(interrex.ErrOutcomeUnknown))
	c := dial(t, client.Config{Timeout: 300 * time.Millisecond, OneShot: true}, a)
	_, err := claim(t, c)
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.ErrOutcomeUnknown || e.RequestID == "" || e.RequestID != a.received()[0].RequestId {
		t.Fatalf("the request %s: %v", a.received()[0].RequestId, err)
	}
	a.set(func(a *agent) { a.answer = granted })
	if _, err := claim(t, dial(t, client.Config{OneShot: true, RequestID: e.RequestID}, a)); err != nil {
		t.Error(err)
	}
	if all := a.received(); all[len(all)-1].RequestId != e.RequestID {
		t.Errorf("it was repeated as %s", all[len(all)-1].RequestId)
	}
}

func TestAnAgentThatHangsLeavesTimeForTheNext(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	well := startAgent(t)
	const limit = 6 * time.Second
	bounded, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var asking sync.WaitGroup
	for ctx, timeout := range map[context.Context]time.Duration{t.Context(): limit, bounded: time.Hour} {
		c := dial(t, client.Config{Timeout: timeout, Addresses: []string{"http://" + mute.Addr().String(), well.URL}})
		asking.Go(func() {
			if _, err := c.Status(ctx); err != nil {
				t.Errorf("with %s: %v", timeout, err)
			}
		})
	}
	once := dial(t, client.Config{Timeout: time.Minute, OneShot: true, Addresses: []string{"http://" + mute.Addr().String(), well.URL}})
	asking.Go(func() {
		if _, err := claim(t, once); err != nil {
			t.Errorf("a call of its own: %v", err)
		}
	})
	asking.Wait()
}

func TestAnAgentWhoseCertificateIsNotTrustedIsSaidToBeThere(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{server.URL}, Timeout: time.Second, OneShot: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var unknown x509.UnknownAuthorityError
	want := "unavailable: no agent answers at " + server.URL + ": its certificate is signed by a CA that is not known here"
	if _, err := c.Status(t.Context()); !errors.As(err, &unknown) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
