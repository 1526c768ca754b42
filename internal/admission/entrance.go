package admission

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/inbound"
)

// Entrance is what one listener of the public API asks of every request.
type Entrance struct {
	// Loopback says that only this machine reaches the listener. Then a request has to be
	// addressed to this machine: a web page whose name was pointed at it is addressed to
	// that name.
	Loopback bool
	// Names are this machine's, beside localhost and its loopback addresses.
	Names []string
	// Closed admits nobody without a certificate or a token, even if there is no token yet.
	Closed bool
}

type entranceKey struct{}

// conn is what is known of one connection.
type conn struct {
	Entrance
	verified atomic.Pointer[verified] // its client certificate; nil: it was not verified yet
	waste    func()                   // is called for what its peer has wasted
}

// WithEntrance returns the context of a connection on a listener; waste is called for each
// request that the peer has reset before it was answered, and for each piece of a body that
// is one of many small ones.
func WithEntrance(ctx context.Context, e Entrance, waste func()) context.Context {
	return context.WithValue(ctx, entranceKey{}, &conn{Entrance: e, waste: waste})
}

func connOf(r *http.Request) *conn {
	if c, is := r.Context().Value(entranceKey{}).(*conn); is {
		return c
	}
	return &conn{waste: func() {}}
}

func entranceOf(r *http.Request) Entrance { return connOf(r).Entrance }

// Enter returns a handler that refuses what a browser sends for another site's page, and
// counts the requests that are reset.
func Enter(audit *Audit, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connOf(r)
		defer func() {
			if r.Context().Err() != nil {
				c.waste()
			}
		}()
		if r.Context().Err() != nil {
			return
		}
		if err := c.check(r); err != nil {
			audit.Refuse(w, r, Public, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (e Entrance) check(r *http.Request) error {
	if e.Loopback && r.Host != "" && !e.means(hostOf(r.Host)) {
		return interrex.Errorf(interrex.ErrDenied, "Host: this API is reached by localhost only, and %.80q is not known as a name of this machine: use localhost or 127.0.0.1, or set api.advertise", r.Host)
	}
	if foreign(r) {
		site := cmp.Or(r.Header.Get("Origin"), "not named")
		return interrex.Errorf(interrex.ErrDenied, "Origin: a page of another site (%.80q) must not use this API", site)
	}
	return nil
}

// Closed returns why a caller is refused who shows nothing while there is no token; nil:
// it is not.
func Closed(r *http.Request) error {
	if !entranceOf(r).Closed {
		return nil
	}
	return interrex.Errorf(interrex.ErrUnauthenticated,
		"this API is open to other machines, and there is no access token yet: 'interrex token create' on the agent's socket makes the first one; api.tls.client-ca admits certificates, and api.open: true makes every caller an operator")
}

// means reports whether a host is this machine.
func (e Entrance) means(host string) bool {
	return inbound.IsLoopback(strings.ToLower(host)) ||
		slices.ContainsFunc(e.Names, func(own string) bool { return own != "" && strings.EqualFold(own, host) })
}

// hostOf returns the host of a Host header.
func hostOf(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(header, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

var crossOrigin http.CrossOriginProtection // without exceptions

// foreign reports whether a page of another site makes the request. It may follow a link
// to here, which has no Origin.
func foreign(r *http.Request) bool {
	if r.Header.Get("Origin") != "" {
		r = r.WithContext(r.Context()) // a copy
		r.Method = http.MethodPost     // reading is no more allowed than writing
	}
	return crossOrigin.Check(r) != nil
}
