package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

func TestOfAReadNothingIsUnknown(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx   context.Context
		class interrexv1.Class
		kind  interrex.Kind
		want  interrex.Kind
	}{
		{t.Context(), interrexv1.Class_CLASS_READ, interrex.ErrOutcomeUnknown, interrex.ErrUnavailable},
		{gone, interrexv1.Class_CLASS_READ, interrex.ErrOutcomeUnknown, interrex.ErrTimeout},
		{gone, interrexv1.Class_CLASS_READ, interrex.ErrNotFound, interrex.ErrNotFound},
		{t.Context(), interrexv1.Class_CLASS_HARMLESS, interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown},
		{gone, interrexv1.Class_CLASS_RECORDED, interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown},
	} {
		r := &request{method: wire.Method{Class: test.class}}
		told := interrex.Errorf(test.kind, "told so")
		if err := r.known(test.ctx, told); interrex.KindOf(err) != test.want || told.Kind != test.kind {
			t.Errorf("%v, %s: %v, want %s", test.class, test.kind, err, test.want)
		}
	}
	read := &request{method: wire.Method{Class: interrexv1.Class_CLASS_READ}}
	late := interrex.Errorf(interrex.ErrOutcomeUnknown, "no answer").WithCause(context.DeadlineExceeded)
	if err := read.known(t.Context(), late); interrex.KindOf(err) != interrex.ErrTimeout {
		t.Errorf("the attempt's time is over: %v", err)
	}
	if err := (&request{}).known(gone, errors.New("other")); err == nil || err.Error() != "other" {
		t.Errorf("%v", err)
	}
}

func TestAnotherAgentIsAskedWhereItMayDoBetter(t *testing.T) {
	for kind, want := range map[interrex.Kind]bool{
		interrex.ErrNoLeader: true, interrex.ErrNotLeader: true, interrex.ErrUnavailable: true, interrex.ErrDraining: true,
		interrex.ErrOutcomeUnknown: true, interrex.ErrDisabled: true, interrex.ErrOverloaded: false, interrex.ErrHeld: false, interrex.ErrInvalid: false,
	} {
		if moves(kind) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
}

func TestACallerThatGoesIsNoReasonToLeaveAnAgent(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for ctx, leaves := range map[context.Context]bool{gone: false, t.Context(): true} {
		c, err := Dial(t.Context(), Config{Addresses: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}})
		if err != nil {
			t.Fatal(err)
		}
		p := c.endpoint()
		r := &request{procedure: interrexv1.LeaseServiceGetProcedure, Options: Options{limit: time.Minute}}
		if _, err := c.single(ctx, r); !moves(interrex.KindOf(err)) || (c.endpoint() != p) != leaves {
			t.Errorf("gone %v, and the agent was left %v: %v", ctx == gone, !leaves, err)
		}
		_ = c.Close()
	}
}

func TestACallerThatGoesAmidACallIsNoReasonEither(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(t.Context(), Config{Addresses: []string{"http://" + l.Addr().String(), "http://127.0.0.1:2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1)) // it is being asked
		}
		cancel()
		<-t.Context().Done()
	}()
	p := c.endpoint()
	r := &request{procedure: interrexv1.LeaseServiceGetProcedure, Options: Options{limit: time.Minute}}
	if _, err := c.single(ctx, r); !moves(interrex.KindOf(err)) || c.endpoint() != p {
		t.Errorf("the agent was left %v: %v", c.endpoint() != p, err)
	}
}
