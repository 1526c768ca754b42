package apiserver

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/wire"
)

// forwardingRoutes returns the API of an agent without raft: what is about the agent
// itself is answered here, and everything else at a member.
func (s *Server) forwardingRoutes(mux *http.ServeMux) http.Handler {
	own := http.NewServeMux()
	s.ownServices(own)
	tidy := refusals{s}.tidy(own)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := own.Handler(r); pattern != "" {
			tidy.ServeHTTP(w, r)
			return
		}
		s.pass(w, r)
	})
	s.probes(mux)
	return mux
}

// passGrace is how long a drain waits for the answer of a member. A claim or a read that
// waits for something may last for an hour.
const passGrace = 2 * time.Second

// pass lets a member answer a request. A drain waits for the answer, and ends streams.
func (s *Server) pass(w http.ResponseWriter, r *http.Request) {
	kind, end := admission.Lasting, s.calls.EndOn
	if in, out := wire.Streams(r.URL.Path); !in && !out {
		kind, end = admission.Brief, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return s.calls.EndSoon(ctx, passGrace)
		}
	}
	ctx, leave, err := s.calls.Begin(r.Context(), kind)
	if err != nil {
		admission.Refuse(w, r, err)
		return
	}
	defer leave()
	ctx, cancel := end(ctx)
	defer cancel()
	// The member's answer ends when the request does, and a stream's lasts.
	defer context.AfterFunc(ctx, func() { _ = r.Body.Close() })()
	s.config.Elsewhere.ServeHTTP(w, r.WithContext(ctx))
}

// admitForwarding passes on requests at a door of an agent without raft, which does not
// know the callers at its port: a member decides what they may do.
func (s *Server) admitForwarding(d admission.Door, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := admission.Caller{Operator: true, Door: d}
		own := r.URL.Path == "/metrics" || strings.HasPrefix(r.URL.Path, "/"+interrexv1.EngineServiceName+"/")
		if err := admission.Closed(r); err != nil && d == admission.Public && !free(r.URL.Path) && r.Header.Get("Authorization") == "" {
			s.config.Audit.Refuse(w, r, d, err)
			return
		}
		if d == admission.Public {
			c = admission.Caller{Door: d, Grant: &accesstoken.Grant{Name: "anonymous"}}
			if own {
				if err := s.config.Elsewhere.May(r); err != nil {
					s.config.Audit.Refuse(w, r, d, err)
					return
				}
				c.Grant = nil
			}
		}
		c.Remote = admission.RemoteOf(d, r)
		next.ServeHTTP(w, r.WithContext(admission.WithCaller(r.Context(), c)))
	})
}
