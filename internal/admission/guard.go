package admission

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
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
	// MaxSilence returns how long an agent that does not hear the leader accepts tokens.
	MaxSilence() time.Duration
}

// Guard says who the callers of an agent's API are. All fields are required unless
// marked optional.
type Guard struct {
	// Tokens are those that the agent knows. nil: everybody is an operator.
	Tokens Tokens
	// Silence returns for how long the agent has not known what its leader commits, and
	// whether it has ever known it since it started.
	Silence func() (d time.Duration, ever bool)
	// CAs returns the certificates of the cluster's own CA, in DER, and of the next one
	// while it is rotated; empty for a cluster without a CA of its own.
	CAs func() [][]byte
	// Member returns a context that is done once an agent is not a member of the cluster
	// with a log any more; nil: it is not one, because it was removed, or runs without raft.
	Member func(id string) context.Context
	// Audit receives refusals.
	Audit *Audit
}

// Admit returns a handler that passes requests on with their caller, and ends them when
// what the caller may do ends. It refuses those whose caller is not known. free are the
// paths that anybody may request.
func (g *Guard) Admit(d Door, free func(path string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, valid, err := g.identify(d, r)
		c.Remote, c.share = RemoteOf(d, r), forwarderOf(r.Context())
		if d == Peer {
			c.Via = cmp.Or(peercall.PeerOf(r.Context()), c.Remote)
		}
		if err == nil {
			c.Origin = cmp.Or(c.share, origin(d, r))
			c.Known, err = knownBy(r)
		}
		switch {
		case err != nil && free(r.URL.Path):
			c = Caller{Door: d, Remote: c.Remote, Grant: &accesstoken.Grant{Name: "anonymous"}}
			next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c)))
		case err != nil:
			g.Audit.Refuse(w, r, d, err)
		case valid == nil:
			next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c)))
		default:
			ctx, end := context.WithCancelCause(WithCaller(r.Context(), c))
			stop := context.AfterFunc(valid, func() {
				if c.isEverybody() {
					linger(ctx)
				}
				end(context.Cause(valid))
			})
			defer func() { stop(); end(nil) }()
			next.ServeHTTP(w, r.WithContext(ctx))
		}
	})
}

// closing is how long requests of an open API go on once there is a token: one of them has
// made that token, and must get its answer.
const closing = 250 * time.Millisecond

// linger waits for that time, or until the request is over.
func linger(request context.Context) {
	left := time.NewTimer(closing)
	defer left.Stop()
	select {
	case <-left.C:
	case <-request.Done():
	}
}

// origin returns the address of a request's caller; of IPv6 the network, of which one
// host may use every address. It is empty for one on the same machine.
func origin(d Door, r *http.Request) string {
	if d != Public && d != Forwarded {
		return ""
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	address := at.Addr().Unmap().WithZone("")
	if network, err := address.Prefix(64); err == nil && address.Is6() {
		return network.String()
	}
	return address.String()
}

// knownBy returns the revision that a request says its caller knew.
func knownBy(r *http.Request) (interrex.Revision, error) {
	texts := r.Header[wire.HeaderKnown]
	if len(texts) == 0 {
		return 0, nil
	}
	revision, err := strconv.ParseUint(texts[0], 10, 64)
	if err != nil || len(texts) > 1 {
		return 0, interrex.Errorf(interrex.ErrInvalid, "%s: %.40q is not a revision: send one whole number", wire.HeaderKnown, texts)
	}
	return interrex.Revision(revision), nil
}

// Refuse answers a request with an error, in the form that its caller understands.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if interrex.KindOf(err) == interrex.ErrUnauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if refuse := connect.NewErrorWriter(); refuse.IsSupported(r) {
		if strings.HasPrefix(r.URL.Path, "/"+interrexv1.StreamServiceName+"/") {
			w.Header().Set(wire.HeaderRefused, "true")
		}
		_ = refuse.Write(w, r, wire.Error(err)) // an error means that the caller has gone
		return
	}
	refusePlainly(w, err)
}

// refusePlainly answers a request that is not an RPC.
func refusePlainly(w http.ResponseWriter, err error) {
	wire.SetRetryAfter(w.Header(), err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(interrex.KindOf(err).HTTP())
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // an error means that the caller has gone
}

// identify returns the caller of a request, and for how long it is that; nil: always.
func (g *Guard) identify(d Door, r *http.Request) (Caller, context.Context, error) {
	if d != Public && d != Forwarded || g.Tokens == nil {
		return Caller{Operator: true, Door: d}, nil, nil
	}
	first, open := g.Tokens.Open()
	secured := r.TLS != nil || d == Forwarded
	switch texts := r.Header.Values("Authorization"); {
	case len(texts) > 1:
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated, "Authorization: the header is there %d times: send it once", len(texts))
	case len(texts) == 1 && texts[0] != "" && (!open || secured): // with TLS it may be in place of a certificate
		return g.bearer(d, texts[0])
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		return g.certified(d, r.TLS.VerifiedChains[0])
	case noCert(r.Context()) != nil:
		return Caller{}, nil, noCert(r.Context())
	case !open && d == Forwarded:
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated,
			"the cluster needs an access token: set INTERREX_TOKEN_FILE or INTERREX_TOKEN, or the header 'Authorization: Bearer TOKEN'; over the socket of an agent without raft clients send none, and there, as for the agent itself, api.token-file in its configuration names the file of one: call its port, or set that")
	case !open:
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated,
			"this API needs an access token: set INTERREX_TOKEN_FILE or INTERREX_TOKEN, or the header 'Authorization: Bearer TOKEN'; 'interrex token create' makes one, and the agent's socket needs none")
	case Closed(r) != nil:
		return Caller{}, nil, cmp.Or(g.unknown(), Closed(r))
	case secured:
		return Caller{Operator: true, Door: d}, first, g.unknown()
	}
	return Caller{Operator: true, Door: d, doubt: g.unknown}, first, nil
}

func (g *Guard) bearer(d Door, text string) (Caller, context.Context, error) {
	scheme, token, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated, "Authorization: the scheme is not Bearer: send 'Authorization: Bearer TOKEN'")
	}
	if err := g.stale(); err != nil {
		return Caller{}, nil, err
	}
	grant, err := g.Tokens.Grant(token)
	if err != nil {
		return Caller{}, nil, err
	}
	return g.granted(d, grant), grant.Valid, nil
}

// certified returns the caller with a verified certificate: those of the cluster's own
// CA are its agents', and others have the rights of the tokens of their name.
func (g *Guard) certified(d Door, chain []*x509.Certificate) (Caller, context.Context, error) {
	name, root := certName(chain[0]), chain[len(chain)-1]
	if slices.ContainsFunc(g.CAs(), func(ca []byte) bool { return bytes.Equal(root.Raw, ca) }) {
		return g.agent(d, name)
	}
	if first, open := g.Tokens.Open(); open {
		return Caller{Name: name, Operator: true, Door: d}, first, g.unknown()
	}
	if name == "" {
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated, "the client certificate has no common name, and not exactly one other name: issue one that has")
	}
	if err := g.stale(); err != nil {
		return Caller{}, nil, err
	}
	grant := g.Tokens.Named(name)
	c := g.granted(d, grant)
	c.now = func() *accesstoken.Grant { return g.Tokens.Named(name) }
	return c, grant.Valid, nil
}

// agent returns the caller with a certificate of the cluster's own CA, which is an
// operator as long as it is a member: others have such a certificate until it ends.
func (g *Guard) agent(d Door, id string) (Caller, context.Context, error) {
	member := g.Member(id)
	if member == nil {
		return Caller{}, nil, interrex.Errorf(interrex.ErrUnauthenticated, "the client certificate is that of agent %s, which is not a member of the cluster, or has no log: use an access token", id)
	}
	c := Caller{Name: id, Operator: true, Door: d}
	c.now = func() *accesstoken.Grant { return &accesstoken.Grant{Name: id, Operator: member.Err() == nil} }
	return c, member, nil
}

// granted returns the caller that has a grant.
func (g *Guard) granted(d Door, grant *accesstoken.Grant) Caller {
	return Caller{Name: grant.Name, Operator: grant.Operator, Door: d, Grant: grant, doubt: g.stale}
}

// unknown returns an error until this agent knows whether there are tokens.
func (g *Guard) unknown() error {
	if _, ever := g.Silence(); ever {
		return nil
	}
	return unavailable("this agent has not heard from its cluster yet, and does not know who may use its API")
}

// stale returns an error while this agent cannot know which tokens were revoked.
func (g *Guard) stale() error {
	silent, ever := g.Silence()
	if !ever {
		return g.unknown()
	}
	if most := g.Tokens.MaxSilence(); silent > most {
		return unavailable(fmt.Sprintf("this agent has not known for %s what its leader commits, of %s allowed, and accepts no access tokens, which may have been revoked", wording.Rounded(silent), wording.Rounded(most)))
	}
	return nil
}

func unavailable(why string) error {
	err := interrex.Errorf(interrex.ErrUnavailable, "%s: try again, or another agent; this agent's socket needs no token", why)
	err.RetryAfter = 200 * time.Millisecond
	return err
}
