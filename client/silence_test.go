package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// asking returns a client with addresses of agents that are never called.
func asking(t *testing.T, agents int) *Client {
	t.Helper()
	var addresses []string
	for i := range agents {
		addresses = append(addresses, fmt.Sprintf("http://127.0.0.1:%d", i+1))
	}
	c, err := Dial(t.Context(), Config{Addresses: addresses})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// refused is the error of a refused connection.
func refused() error {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	return wire.FromError(connect.NewError(connect.CodeUnavailable, dial), true)
}

func TestAnAgentIsSilentUntilItAnswers(t *testing.T) {
	c := asking(t, 1)
	p := c.endpoints[0]
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	said := interrex.Errorf(interrex.ErrNoLeader, "nobody leads")
	for _, step := range []struct {
		what string
		ctx  context.Context
		err  error
		want string
	}{
		{"nobody takes the connection", t.Context(), refused(), "connection refused"},
		{"the caller goes", gone, refused(), "connection refused"},
		{"the caller goes with an answer", gone, nil, "connection refused"},
		{"it says no", t.Context(), said, ""},
		{"the caller goes", gone, refused(), ""},
		{"it is late", t.Context(), interrex.Errorf(interrex.ErrTimeout, "late").WithCause(context.DeadlineExceeded), "no answer"},
		{"it answers", t.Context(), nil, ""},
	} {
		p.note(step.ctx, step.err)
		want := step.want
		if want != "" {
			want = p.String() + ": " + want
		}
		if got := c.silences(); got != want {
			t.Errorf("%s: %q, want %q", step.what, got, want)
		}
	}
}

func TestAnErrorNamesSoManyAgentsAndNoMore(t *testing.T) {
	c := asking(t, maxNamed+2)
	for _, p := range c.endpoints {
		p.note(t.Context(), refused())
	}
	got := c.silences()
	if n := strings.Count(got, "refused"); n != maxNamed || !strings.HasSuffix(got, "; and 2 more") {
		t.Errorf("got %q", got)
	}
}

func TestTheVerdictIsWhatSaysMost(t *testing.T) {
	c := asking(t, 1)
	said := interrex.Errorf(interrex.ErrNoLeader, "nobody leads")
	late := interrex.Errorf(interrex.ErrTimeout, "late")
	if err := c.verdict(said, late); err != error(said) {
		t.Errorf("what an agent said, when each has answered: %v", err)
	}
	if err := c.verdict(nil, late); err != error(late) {
		t.Errorf("when nobody was silent: %v", err)
	}
	c.endpoints[0].note(t.Context(), refused())
	if err := c.verdict(said, late); !errors.Is(err, interrex.ErrNoLeader) || !strings.Contains(err.Error(), "nobody leads (http://127.0.0.1:1: connection refused)") {
		t.Errorf("what an agent said, beside one that is silent: %v", err)
	}
	denied := interrex.Errorf(interrex.ErrUnavailable, "gone").WithCause(syscall.EACCES)
	c.endpoints[0].note(t.Context(), denied)
	if err := c.verdict(nil, denied); !strings.HasSuffix(err.Error(), "permission denied: run this as the agent's user") {
		t.Errorf("of a socket that this user must not open: %v", err)
	}
	ended := interrex.Errorf(interrex.ErrUnavailable, "gone").WithCause(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}})
	if err := c.verdict(nil, ended); strings.Contains(err.Error(), "is an agent running?") {
		t.Errorf("of an agent whose certificate has ended: %v", err)
	}
	for kind, asks := range map[interrex.Kind]bool{interrex.ErrUnavailable: true, interrex.ErrOutcomeUnknown: false} {
		err := c.verdict(nil, interrex.Errorf(kind, "gone"))
		if interrex.KindOf(err) != kind || strings.Contains(err.Error(), "is an agent running?") != asks {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestOnlyTheRequestOfAOneShotClientCanBeRepeated(t *testing.T) {
	for _, oneShot := range []bool{true, false} {
		c := asking(t, 1)
		c.config.OneShot = oneShot
		for _, kind := range []interrex.Kind{interrex.ErrOutcomeUnknown, interrex.ErrUnavailable} {
			var e *interrex.Error
			err := c.repeatable(interrex.Errorf(kind, "gone"), "id")
			if !errors.As(err, &e) || (e.RequestID != "") != (oneShot && kind == interrex.ErrOutcomeUnknown) {
				t.Errorf("one shot %v, %s: the request %q", oneShot, kind, e.RequestID)
			}
		}
	}
}
