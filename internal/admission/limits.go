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

// Limited is what every request passes first: it marks the door, and limits how
// long the peer may take for the body, and to accept each write of the answer,
// where these are not streams.
func Limited(d Door, bodyWait, sendWait time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		r = r.WithContext(context.WithValue(Through(r.Context(), d), controllerKey{}, controller))
		asked, answered := streams(r)
		if !answered {
			w = &timedAnswer{ResponseWriter: w, controller: controller, wait: sendWait}
		}
		if !asked && r.Body != nil && r.Body != http.NoBody {
			// Where there is no such deadline, the connection has one of its own.
			_ = controller.SetReadDeadline(time.Now().Add(bodyWait))
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

// Unlimited returns what an answer is written to without a limit for each write,
// for a sender bounds what is sent.
func Unlimited(w http.ResponseWriter) http.ResponseWriter {
	if timed, is := w.(*timedAnswer); is {
		return timed.ResponseWriter
	}
	return w
}

// Sender bounds how long the peer of a stream may take to accept a message;
// after that the stream is reset.
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

// StopReading ends a read of the request that is under way, and reports whether
// that could be done.
func StopReading(ctx context.Context) bool {
	controller, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	return controller != nil && controller.SetReadDeadline(time.Unix(1, 0)) == nil
}
