package plainhttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/services"
)

// Server serves plain HTTP at one agent.
type Server struct {
	operator *operations.Server
	standing *consistency.Standing
	methods  *method.Registry
	calls    *admission.Calls
	clock    clock.Clock
	sendWait time.Duration
}

// New makes a server. calls counts what is open, and sendWait is how long
// a peer may take to accept one write.
func New(by *operations.Server, standing *consistency.Standing, methods *method.Registry, calls *admission.Calls, clock clock.Clock, sendWait time.Duration) *Server {
	return &Server{operator: by, standing: standing, methods: methods, calls: calls, clock: clock, sendWait: sendWait}
}

// Changes adds the paths of /changes.
func (s *Server) Changes(mux *http.ServeMux, of services.Changes) { plainChanges{s, of}.routes(mux) }

// Values takes what is for /kv and gives next the rest.
func (s *Server) Values(of services.Resources, changes *change.Table, next http.Handler) http.Handler {
	return plainValues{s, of, changes}.route(next)
}

// plain makes a handler of plain HTTP: it is off where its service is, ends with
// the server, and answers an error as JSON.
func (s *Server) plain(setting string, do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.methods.Served(setting, admission.CallerOf(r.Context()))
		if _, bad := url.ParseQuery(r.URL.RawQuery); err == nil && bad != nil {
			err = interrex.Errorf(interrex.KindInvalid, "?%.80s: it cannot be read: %.80v", r.URL.RawQuery, bad)
		}
		if err == nil {
			err = s.calls.Enter()
		}
		if err != nil {
			plainError(w, err)
			return
		}
		defer s.calls.Leave(1)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.calls.Ended, cancel)()
		if err := do(w, r.WithContext(ctx)); err != nil {
			if s.calls.Draining() && errors.Is(err, context.Canceled) {
				err = admission.DrainingError()
			}
			plainError(w, err)
		}
	}
}

// resumed is the revision behind which a stream of events begins: that of
// Last-Event-ID, else since, which this agent may have to catch up with.
func (s *Server) resumed(r *http.Request, since interrex.Revision) (interrex.Revision, error) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return 0, interrex.Errorf(interrex.KindInvalid, "Last-Event-ID: %.80q is not a revision", last)
		}
		since = interrex.Revision(n)
	}
	return since, s.standing.NotAhead(r.Context(), admission.CallerOf(r.Context()), since)
}

// events sends server-sent events: the last one of each revision has that as its
// id, so that a caller that reconnects with Last-Event-ID misses nothing. A
// comment is sent when nothing happens for long, and the last event is named
// after the kind of the error that ends the stream.
func (s *Server) events(w http.ResponseWriter, r *http.Request, from eventSource) error {
	watcher, err := s.standing.Ring.Watch(from.since, from.match)
	if err != nil {
		return err
	}
	defer watcher.Close()
	w = admission.Unlimited(w) // the sender bounds what is sent here, and nothing else
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := eventWriter{w: w, send: admission.Sender(r.Context(), s.clock, s.sendWait), flush: http.NewResponseController(w).Flush}
	if out.flushed() != nil {
		return nil
	}
	if from.present != nil && out.all(r.Context(), from.present) != nil {
		return nil
	}
	for told := from.since; ; {
		ctx, cancel := context.WithTimeout(r.Context(), heartbeat)
		events, err := watcher.Next(ctx)
		cancel()
		off := s.methods.Served(from.setting, admission.CallerOf(r.Context()))
		switch {
		case s.calls.Draining():
			out.end(admission.DrainingError())
			return nil
		case off != nil:
			out.end(off)
			return nil
		case r.Context().Err() != nil:
			return nil
		case ctx.Err() != nil && len(events) == 0 && interrex.KindOf(err) == "":
			at := watcher.Position()
			err = out.beat(at, at > told)
			told = at
		case err != nil:
			out.end(err)
			return nil
		default:
			told = watcher.Position()
			err = out.all(r.Context(), from.shown(events))
		}
		if err != nil {
			return nil // the caller has gone, or does not read, or was told why it ends
		}
	}
}
