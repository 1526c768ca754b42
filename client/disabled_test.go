package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// forgetful executes the first claim, loses its answer, and refuses the later ones.
type forgetful struct {
	interrexv1.UnimplementedLeaseServiceHandler
	asked atomic.Int32
	then  interrex.Kind
}

func (f *forgetful) Claim(context.Context, *connect.Request[interrexv1.ClaimRequest]) (*connect.Response[interrexv1.ClaimResponse], error) {
	if f.asked.Add(1) == 1 {
		return nil, connect.NewError(connect.CodeUnknown, context.Canceled)
	}
	return nil, wire.Error(interrex.Errorf(f.then, "go away"))
}

func TestARefusalAtTheDoorSaysNothingAboutAnEarlierAttempt(t *testing.T) {
	for _, kind := range []interrex.Kind{interrex.ErrDisabled, interrex.ErrUnauthenticated, interrex.ErrDenied} {
		t.Run(string(kind), func(t *testing.T) { refuseAfterALostAnswer(t, kind) })
	}
}

func refuseAfterALostAnswer(t *testing.T, then interrex.Kind) {
	mux := http.NewServeMux()
	mux.Handle(interrexv1.NewLeaseServiceHandler(&forgetful{then: then}))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	c, err := Dial(t.Context(), Config{Addresses: []string{server.URL}, OneShot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "default", Name: "db"}, Holder: "ann"})
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.ErrOutcomeUnknown || e.RequestID == "" {
		t.Errorf("got %v, want an unknown outcome with its request id", err)
	}
}
