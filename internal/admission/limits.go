package admission

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/wire"
)

type controllerKey struct{}

// Limited returns a handler that every request passes first: it limits how long the peer
// may take to send the body and to accept each write of the answer, unless these are
// streams.
func Limited(bodyWait, sendWait time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		r = r.WithContext(context.WithValue(r.Context(), controllerKey{}, controller))
		in, out := streams(r)
		if !out {
			w = &timedAnswer{ResponseWriter: w, controller: controller, wait: sendWait}
		}
		if !in && r.Body != nil && r.Body != http.NoBody {
			// If this deadline is not supported, the connection has its own.
			_ = controller.SetReadDeadline(time.Now().Add(bodyWait))
			r.Body = &timedBody{ReadCloser: r.Body, controller: controller, waste: connOf(r).waste}
		}
		next.ServeHTTP(w, r)
	})
}

// streams reports whether a request, and its answer, is a stream of messages,
// which has no time limit. The answer of an unknown method counts as one.
func streams(r *http.Request) (in, out bool) {
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

// WriteString implements io.StringWriter.
func (a *timedAnswer) WriteString(s string) (int, error) {
	_ = a.controller.SetWriteDeadline(time.Now().Add(a.wait))
	return io.WriteString(a.ResponseWriter, s)
}

// Unwrap is for http.ResponseController.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// A body may come in fewPieces of less than smallPiece bytes. Each further one costs more
// than it is worth.
const (
	smallPiece = 64
	fewPieces  = 16
)

// timedBody clears the read deadline once the body is complete: from then on the
// connection is read only to notice that the caller has gone. A late body keeps the
// deadline, because the server reads the rest of it. Small pieces of it are counted.
type timedBody struct {
	io.ReadCloser
	controller *http.ResponseController
	waste      func()
	small      int
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.controller.SetReadDeadline(time.Time{})
	}
	if err == nil && n < min(smallPiece, len(p)) {
		if b.small++; b.small > fewPieces {
			b.waste()
		}
	}
	return n, err
}

// Unlimited returns w without its limit for each write, for answers that a Sender
// bounds.
func Unlimited(w http.ResponseWriter) http.ResponseWriter {
	if timed, is := w.(*timedAnswer); is {
		return timed.ResponseWriter
	}
	return w
}

// Sender returns a function that limits how long the peer of a stream may take to
// accept a message; after that the stream is reset.
func Sender(ctx context.Context, by clock.Clock, wait time.Duration) func(send func() error) error {
	controller, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	if controller == nil {
		return func(send func() error) error { return send() }
	}
	return func(send func() error) error {
		t := by.AfterFunc(wait, func() {
			_ = controller.SetWriteDeadline(time.Unix(1, 0))
		})
		defer t.Stop()
		return send()
	}
}

// StopReading ends a pending read of the request, and reports whether it could.
func StopReading(ctx context.Context) bool {
	controller, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	return controller != nil && controller.SetReadDeadline(time.Unix(1, 0)) == nil
}
