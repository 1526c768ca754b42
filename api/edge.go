package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex/wire"
)

// The headers that every answer carries, beside wire.HeaderEpoch.
const (
	// HeaderLeader is the leader's ID; empty: none is known here.
	HeaderLeader = "Interrex-Leader-Id"
	// HeaderTerm is the newest term of raft that the agent knows of.
	HeaderTerm = "Interrex-Term"
)

type controllerKey struct{}

// edge is what every request passes first: it marks the door, and says in the
// headers of the answer who leads.
func (s *Server) edge(d door, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		l := s.config.Leadership.Current()
		if id := s.config.State.Identity(); id.ClusterID != "" {
			h.Set(wire.HeaderEpoch, id.Epoch.String())
		}
		h.Set(HeaderLeader, l.LeaderID)
		h.Set(HeaderTerm, strconv.FormatUint(l.Term, 10))
		controller := http.NewResponseController(w)
		ctx := context.WithValue(through(r.Context(), d), controllerKey{}, controller)
		r = r.WithContext(ctx)
		asked, answered := streams(r)
		if !answered {
			w = &timedAnswer{ResponseWriter: w, controller: controller, wait: s.config.SendWait}
		}
		if !asked && r.Body != nil && r.Body != http.NoBody {
			// Where there is no such deadline, the connection has one of its own.
			_ = controller.SetReadDeadline(time.Now().Add(s.config.BodyWait))
			r.Body = &timedBody{ReadCloser: r.Body, controller: controller}
		}
		next.ServeHTTP(w, r)
	})
}

// streams reports whether the messages that are asked, and those that answer,
// are a stream, which may take as long as it wants. The answer of a method that
// is not known here counts as one.
func streams(r *http.Request) (asked, answered bool) {
	t := r.Header.Get("Content-Type")
	if !strings.HasPrefix(t, "application/grpc") && !strings.HasPrefix(t, "application/connect+") {
		return false, false
	}
	return wire.Streams(r.URL.Path)
}

// timedAnswer limits how long the peer may take to accept each write.
type timedAnswer struct {
	http.ResponseWriter
	controller *http.ResponseController
	wait       time.Duration
}

func (a *timedAnswer) Write(p []byte) (int, error) {
	_ = a.controller.SetWriteDeadline(time.Now().Add(a.wait))
	return a.ResponseWriter.Write(p)
}

// WriteString is io.StringWriter.
func (a *timedAnswer) WriteString(s string) (int, error) {
	_ = a.controller.SetWriteDeadline(time.Now().Add(a.wait))
	return io.WriteString(a.ResponseWriter, s)
}

// Unwrap is for http.ResponseController.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// timedBody lifts the read deadline once the body is there: the connection is
// read on only to notice that the caller has gone. A body that has not come in
// time keeps it, for the server reads on what is left of it.
type timedBody struct {
	io.ReadCloser
	controller *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.controller.SetReadDeadline(time.Time{})
	}
	return n, err
}

// sender bounds how long the peer of a stream may take to accept a message;
// after that the stream is reset.
func (s *Server) sender(ctx context.Context) func(send func() error) error {
	controller, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	if controller == nil {
		return func(send func() error) error { return send() }
	}
	return func(send func() error) error {
		t := s.config.Clock.AfterFunc(s.config.SendWait, func() {
			_ = controller.SetWriteDeadline(time.Unix(1, 0))
		})
		defer t.Stop()
		return send()
	}
}

// stopReading ends a read of the request that is under way, and reports whether
// that could be done.
func stopReading(ctx context.Context) bool {
	controller, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	return controller != nil && controller.SetReadDeadline(time.Unix(1, 0)) == nil
}
