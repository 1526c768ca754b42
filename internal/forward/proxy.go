package forward

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
)

// newProxy returns the handler of forwarded requests: they go to a member as they are,
// and its answers come back as they are.
func (g *Gateway) newProxy() http.Handler {
	return &httputil.ReverseProxy{
		Transport: g,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "member", "member"
			r.Out.Header.Set(callersHeader, cmp.Or(admission.CallerOf(r.In.Context()).Remote, "1"))
			if r.Out.Body != nil {
				// One that can be closed: when the connection to the member is lost, a stream
				// ends, although its caller sends nothing.
				r.Out.Body = r.In.Body
			}
		},
		ModifyResponse: func(answer *http.Response) error {
			if _, own := answer.Request.Context().Value(ownKey{}).(bool); own && answer.StatusCode == http.StatusUnauthorized {
				g.config.Logger.Warningf("api.token-file: a member does not accept the access token there: it has ended, was revoked, or is of another cluster: 'interrex token create' makes another")
			}
			return nil
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // an answer that was cut is the caller's to report
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			var known *interrex.Error
			if !errors.As(err, &known) {
				known = interrex.Errorf(interrex.ErrOutcomeUnknown, "the request could not be forwarded: %v", err)
			}
			admission.Refuse(w, r, known)
		},
	}
}

// ServeHTTP forwards a request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, err := g.signed(r)
	share := admission.CallerOf(r.Context()).Share()
	if err == nil {
		err = g.room.enter(share)
	}
	if err != nil {
		admission.Refuse(w, r, err)
		return
	}
	defer g.room.leave(share)
	for name := range w.Header() {
		if strings.HasPrefix(name, "Interrex-") {
			w.Header().Del(name) // the member says it
		}
	}
	g.proxy.ServeHTTP(w, r)
}

// signed returns a request with the agent's own token, if its caller has that one's
// rights and shows no other.
func (g *Gateway) signed(r *http.Request) (*http.Request, error) {
	if admission.CallerOf(r.Context()).Door == admission.Public || r.Header.Get("Authorization") != "" {
		return r, nil
	}
	token, err := g.config.Token()
	if err != nil {
		return r, interrex.Errorf(interrex.ErrUnauthenticated, "api.token-file: %v", err)
	}
	if token != "" {
		r = r.Clone(context.WithValue(r.Context(), ownKey{}, true))
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r, nil
}

// ownKey is the key of a request's context, if it shows the agent's own token.
type ownKey struct{}

// May returns why the caller of a request may not see how this agent does; nil: it may.
// A member decides it.
func (g *Gateway) May(r *http.Request) error {
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://member"+interrexv1.EngineServiceStatusProcedure, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	ask.Header.Set("Content-Type", "application/json")
	if shown := r.Header.Values("Authorization"); len(shown) > 0 {
		ask.Header["Authorization"] = shown
	}
	response, err := g.RoundTrip(ask)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return interrex.Errorf(interrex.ErrUnauthenticated, "a member of the cluster does not know the caller: set INTERREX_TOKEN_FILE or INTERREX_TOKEN, or the header 'Authorization: Bearer TOKEN'")
	case http.StatusForbidden:
		return interrex.Errorf(interrex.ErrDenied, "the caller lacks the rule agent:read:*")
	}
	return interrex.Errorf(interrex.ErrUnavailable, "a member of the cluster cannot say now who the caller is: it answers with status %d", response.StatusCode)
}
