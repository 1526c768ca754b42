// Package peercall owns small requests between agents: one JSON document each way, on
// the connections over which agents forward requests. Both ends know the other's ID
// from its certificate.
package peercall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/interrex/interrex"
)

// Timeout bounds one call, at both ends.
const Timeout = 10 * time.Second

// maxBody bounds a request and an answer, in bytes.
const maxBody = 64 << 10

// peerKey is the key of the caller's ID in a context.
type peerKey struct{}

// WithPeer returns the context of a connection's requests: id is the agent at its
// other end.
func WithPeer(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, peerKey{}, id)
}

// PeerOf returns the ID of the agent that makes a request; empty: it is not known.
func PeerOf(ctx context.Context) string {
	id, _ := ctx.Value(peerKey{}).(string)
	return id
}

// Handle serves the calls of one path.
func Handle[Q, A any](mux *http.ServeMux, path string, do func(ctx context.Context, peer string, q *Q) (*A, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), Timeout)
		defer cancel()
		var q Q
		a, err := (*A)(nil), json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&q)
		peer := PeerOf(ctx)
		switch {
		case err != nil:
			err = interrex.Errorf(interrex.ErrInvalid, "cannot read the request: %v", err)
		case peer == "":
			err = interrex.Errorf(interrex.ErrUnauthenticated, "the caller is not an agent")
		default:
			a, err = do(ctx, peer, &q)
		}
		Reply(w, a, err)
	})
}

// refusal is an answer that is an error.
type refusal struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// Reply writes an answer in JSON or, if err is not nil, a refusal: its kind and its
// message, with the status of the kind.
func Reply(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		kind := interrex.KindOf(err)
		if kind == "" {
			kind = interrex.ErrUnavailable
		}
		answer, status = refusal{string(kind), message(err)}, kind.HTTP()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the caller may be gone
}

// message returns an error's text without its kind, which stands beside it.
func message(err error) string {
	var e *interrex.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// Dialer connects to an agent by its ID, as transport.DialAPI does.
type Dialer func(ctx context.Context, id string) (net.Conn, error)

// Call makes one call to an agent, over a connection of its own.
func Call[A, Q any](ctx context.Context, dial Dialer, id, path string, q *Q) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request: %w", err)
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+id+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the transport's connection is TLS already
	connection := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, id)
	}}
	defer connection.CloseIdleConnections()
	response, err := connection.RoundTrip(post)
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot call %s: %v", id, err)
	}
	return Read[A](id, response)
}

// Read reads the answer of an agent.
func Read[A any](id string, response *http.Response) (*A, error) {
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "the answer of %s was cut: %v", id, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, refused(id, response.StatusCode, text)
	}
	a := new(A)
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("cannot read the answer of %s: %w", id, err)
	}
	return a, nil
}

// refused returns the error of an answer that is not good.
func refused(id string, status int, text []byte) error {
	var r refusal
	if err := json.Unmarshal(text, &r); err != nil || r.Kind == "" {
		return interrex.Errorf(interrex.ErrUnavailable, "%s answers with status %d: it may run an older version", id, status)
	}
	return interrex.Errorf(interrex.Kind(r.Kind), "%s: %s", id, r.Message)
}
