package plainhttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/juju/clock"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// Server serves plain HTTP at one agent.
type Server struct {
	operator *operations.Server
	checker  *consistency.Checker
	methods  *method.Registry
	calls    *admission.Calls
	clock    clock.Clock
	sendWait time.Duration
}

// New returns a Server. calls counts the open calls, and sendWait is how long a peer
// may take to accept one write.
func New(by *operations.Server, checker *consistency.Checker, methods *method.Registry, calls *admission.Calls, clock clock.Clock, sendWait time.Duration) *Server {
	return &Server{operator: by, checker: checker, methods: methods, calls: calls, clock: clock, sendWait: sendWait}
}

// Changes adds the paths of /changes to mux.
func (s *Server) Changes(mux *http.ServeMux, of services.Changes) { plainChanges{s, of}.routes(mux) }

// Values returns a handler of /kv that passes other requests to next.
func (s *Server) Values(of services.Resources, changes *change.Table, next http.Handler) http.Handler {
	return plainValues{s, of, changes}.route(next)
}

// plain returns a handler of plain HTTP: it is disabled when its service is, answers
// errors as JSON, and ends when the server drains or its listener stops if it may
// last long.
func (s *Server) plain(setting string, do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.methods.Served(setting, admission.CallerOf(r.Context()))
		if _, bad := url.ParseQuery(r.URL.RawQuery); err == nil && bad != nil {
			err = interrex.Errorf(interrex.ErrInvalid, "?%.80s: it cannot be parsed: %.80v", r.URL.RawQuery, bad)
		}
		kind := admission.Brief
		if follows(r) || r.URL.Query().Has("block") {
			kind = admission.Lasting
		}
		ctx, leave := r.Context(), func() {}
		if err == nil {
			ctx, leave, err = s.calls.Begin(ctx, kind)
		}
		if err != nil {
			plainError(w, err)
			return
		}
		defer leave()
		if kind == admission.Lasting {
			var cancel context.CancelFunc
			ctx, cancel = s.calls.EndOn(ctx)
			defer cancel()
		}
		if err := do(w, r.WithContext(ctx)); err != nil {
			if ended := context.Cause(ctx); interrex.KindOf(ended) != "" && errors.Is(err, context.Canceled) {
				err = ended
			}
			plainError(w, err)
		}
	}
}

// allowed refuses what the caller's rules do not allow.
func (s *Server) allowed(r *http.Request, procedure string, m proto.Message) error {
	return s.methods.Allowed(admission.CallerOf(r.Context()), procedure, m)
}

// resumed returns the revision after which a stream of events begins: that of
// Last-Event-ID, else since. It waits until this agent has reached it.
func (s *Server) resumed(r *http.Request, since interrex.Revision) (interrex.Revision, error) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return 0, interrex.Errorf(interrex.ErrInvalid, "Last-Event-ID: %.80q is not a revision", last)
		}
		since = interrex.Revision(n)
	}
	return since, s.checker.WaitSince(r.Context(), admission.CallerOf(r.Context()), since)
}

// events sends server-sent events: the last one of each revision has the revision
// as its id, so that a caller that reconnects with Last-Event-ID misses nothing. It
// sends comments while nothing happens, and the last event is named after the kind
// of the error that ends the stream.
func (s *Server) events(w http.ResponseWriter, r *http.Request, from eventSource) error {
	share := admission.CallerOf(r.Context()).Share()
	if err := s.calls.Take(admission.Watch, share, 1); err != nil {
		return err
	}
	defer s.calls.Give(admission.Watch, share, 1)
	watcher, err := s.checker.Ring.Watch(from.since, from.scope, from.match)
	if err != nil {
		return err
	}
	defer watcher.Close()
	w = admission.Unlimited(w) // only the sender limits writes here
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	out := eventWriter{w: w, account: admission.AccountOf(r.Context()), send: admission.Sender(r.Context(), s.clock, s.sendWait), flush: http.NewResponseController(w).Flush}
	if out.flushed() != nil {
		return nil
	}
	if from.present != nil && out.all(r.Context(), from.present) != nil {
		return nil
	}
	for sent := from.since; ; {
		events, err := s.next(r.Context(), watcher, from.setting)
		switch {
		case interrex.KindOf(err) != "":
			out.end(err)
			return nil
		case r.Context().Err() != nil:
			return nil
		case err != nil: // nothing has happened
			at := watcher.Position()
			err = out.beat(at, at > sent)
			sent = at
		default:
			sent = watcher.Position()
			err = out.all(r.Context(), from.shown(events))
		}
		if err != nil {
			return nil // the caller has gone, does not read, or was sent the reason
		}
	}
}

// next returns the next events of a stream. An error without a kind means that there
// were none for a while, or that some service was switched off or on.
func (s *Server) next(ctx context.Context, watcher *watch.Watcher, setting string) ([]state.Event, error) {
	waiting, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	defer context.AfterFunc(s.methods.Switches.UntilChanged(), cancel)()
	if err := s.methods.Served(setting, admission.CallerOf(ctx)); err != nil {
		return nil, err
	}
	events, err := watcher.Next(waiting)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return events, err
}
