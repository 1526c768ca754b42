package client

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// losing executes each request to create a token, and loses the first answer.
type losing struct {
	interrexv1.UnimplementedTokenServiceHandler
	got []*interrexv1.TokenServiceCreateRequest
}

func (l *losing) Create(_ context.Context, r *connect.Request[interrexv1.TokenServiceCreateRequest]) (*connect.Response[interrexv1.TokenServiceCreateResponse], error) {
	if l.got = append(l.got, r.Msg); len(l.got) == 1 {
		return nil, connect.NewError(connect.CodeUnknown, context.Canceled)
	}
	return connect.NewResponse(&interrexv1.TokenServiceCreateResponse{Token: &interrexv1.AccessToken{Id: "1"}, Replayed: true}), nil
}

func TestATokenWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	agent := &losing{}
	mux := http.NewServeMux()
	mux.Handle(interrexv1.NewTokenServiceHandler(agent))
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
	secret, _, err := c.Tokens().Create(t.Context(), interrex.AccessTokenRequest{Name: "ann", Operator: true})
	if err != nil || secret == "" || len(agent.got) != 2 {
		t.Fatalf("%d attempts: %v", len(agent.got), err)
	}
	first, second := agent.got[0], agent.got[1]
	if first.RequestId == "" || second.RequestId != first.RequestId || second.Attempt != first.Attempt+1 || !bytes.Equal(second.Hash, first.Hash) {
		t.Errorf("the attempts are %v and %v", first, second)
	}
}
