package admission

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/wire"
)

// Tokens are the access tokens that an agent knows.
type Tokens interface {
	// Open reports whether there has not been a token yet; the context is done at the
	// first one.
	Open() (context.Context, bool)
	// Grant returns what a token allows; the error is ErrUnauthenticated.
	Grant(text string) (*accesstoken.Grant, error)
	// Named returns what the tokens of a name allow.
	Named(name string) *accesstoken.Grant
}

// Guard says who the callers of an agent's API are. All fields are required unless
// marked optional.
type Guard struct {
	// Tokens are those that the agent knows. nil: everybody is an operator.
	Tokens Tokens
	// Known reports whether the agent knows its cluster, and so whether it has tokens.
	Known func() bool
	// CA returns the certificate of the cluster's own CA, in DER; empty: there is none.
	CA func() string
	// Audit receives refusals.
	Audit *Audit
}

// Admit returns a handler that passes requests on with their caller, and ends them when
// what the caller may do ends. It refuses those whose caller is not known. free are the
// paths that anybody may request.
func (g *Guard) Admit(d Door, free func(path string) bool, next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, valid, err := g.identify(d, r)
		switch {
		case err != nil && free(r.URL.Path):
			c = Caller{Door: d, Grant: &accesstoken.Grant{Name: "anonymous"}}
			next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c)))
		case err != nil:
			g.Audit.refused(Caller{Door: d}, r.URL.Path, err)
			if interrex.KindOf(err) == interrex.ErrUnauthenticated {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			if refuse.IsSupported(r) {
				_ = refuse.Write(w, r, wire.Error(err)) // an error means that the caller has gone
				return
			}
			refusePlainly(w, err)
		case valid == nil:
			next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c)))
		default:
			ctx, end := context.WithCancelCause(WithCaller(r.Context(), c))
			stop := context.AfterFunc(valid, func() { end(context.Cause(valid)) })
			defer func() { stop(); end(nil) }()
			next.ServeHTTP(w, r.WithContext(ctx))
		}
	})
}

// refusePlainly answers a request that is not an RPC.
func refusePlainly(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(interrex.KindOf(err).Numbers().HTTP)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // an error means that the caller has gone
}

// identify returns the caller of a request, and for how long it is that; nil: always.
func (g *Guard) identify(d Door, r *http.Request) (Caller, context.Context, error) {
	if d != Public || g.Tokens == nil {
		return Caller{Operator: true, Door: d}, nil, nil
	}
	first, open := g.Tokens.Open()
	if open && r.TLS != nil && !g.Known() && len(r.TLS.VerifiedChains) == 0 {
		err := interrex.Errorf(interrex.ErrUnavailable, "this agent has not heard from its cluster yet, and does not know who may use its API: try again, or another agent")
		err.RetryAfter = 200 * time.Millisecond
		return Caller{}, nil, err
	}
	text := r.Header.Get("Authorization")
	if open && (text == "" || r.TLS == nil) { // with TLS it may be in place of a certificate
		return Caller{Operator: true, Door: d}, first, nil
	}
	if text != "" {
		return g.bearer(d, text)
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return g.certified(d, r.TLS.VerifiedChains[0])
	}
	return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated,
		"this API needs an access token: set INTERREX_TOKEN_FILE or INTERREX_TOKEN, or the header 'Authorization: Bearer TOKEN'; 'interrex token create' makes one, and the agent's socket needs none")
}

func (g *Guard) bearer(d Door, text string) (Caller, context.Context, error) {
	scheme, token, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated, "Authorization: the scheme is not Bearer: send 'Authorization: Bearer TOKEN'")
	}
	grant, err := g.Tokens.Grant(token)
	if err != nil {
		return Caller{}, nil, err
	}
	return Caller{Name: grant.Name, Operator: grant.Operator, Door: d, Grant: grant}, grant.Valid, nil
}

// certified returns the caller with a verified certificate: those of the cluster's own
// CA are its agents', and others have the rights of the tokens of their name.
func (g *Guard) certified(d Door, chain []*x509.Certificate) (Caller, context.Context, error) {
	name, root := chain[0].Subject.CommonName, chain[len(chain)-1]
	if ca := g.CA(); ca != "" && string(root.Raw) == ca {
		return Caller{Name: name, Operator: true, Door: d}, nil, nil
	}
	if name == "" {
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated, "the client certificate has no common name")
	}
	grant := g.Tokens.Named(name)
	return Caller{Name: name, Operator: grant.Operator, Door: d, Grant: grant}, grant.Valid, nil
}
