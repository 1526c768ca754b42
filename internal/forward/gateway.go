package forward

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/transport"
)

// askPeriod is the time between two looks at who the members are, and askTimeout bounds
// one of them.
const (
	askPeriod  = 2 * time.Second
	askTimeout = 10 * time.Second
)

// maxAddresses bounds how many addresses of members are remembered.
const maxAddresses = 64

// GatewayConfig is the configuration of a Gateway.
type GatewayConfig struct {
	TLS    transport.TLS
	Dialer transport.Dialer // nil: a *net.Dialer
	// Join returns the cluster addresses of members that are configured.
	Join func() []string
	// Token returns the agent's own access token; empty: it has none.
	Token func() (string, error)
	// Lead is told who leads.
	Lead    func(interrex.Leadership)
	Version string
	Clock   clock.Clock
	Logger  interrex.Logger
}

// Gateway forwards the requests of an agent without raft to a member: to one of them, as
// long as that one answers. It is a worker, and the handler of these requests.
type Gateway struct {
	*unit.Loop
	config GatewayConfig
	proxy  http.Handler

	mu     sync.Mutex
	lines  map[string]*memberLine // by address
	order  []string               // of addresses; the first is the one in use
	told   Members                // by the member in use; its zero value: nothing yet
	failed error                  // why no member is reached; nil: one is
	since  time.Time              // since when that is so
}

// NewGateway starts a Gateway.
func NewGateway(c GatewayConfig) *Gateway {
	g := &Gateway{config: c, lines: map[string]*memberLine{}, since: c.Clock.Now(), failed: errors.New("no member has been asked yet")}
	g.proxy = g.newProxy()
	g.Loop = unit.Run(g.run)
	return g
}

// run asks who the members are until ctx ends, and closes all connections then.
func (g *Gateway) run(ctx context.Context) error {
	for {
		g.look(ctx)
		if !backoff.Pause(ctx, g.config.Clock.After(backoff.Jittered(askPeriod))) {
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.lines {
		l.CloseIdleConnections()
	}
	return nil
}

// look asks a member who the members are, and notes it.
func (g *Gateway) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := g.ask(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.failed
	if g.failed = err; (was == nil) != (err == nil) {
		g.since = g.config.Clock.Now()
	}
	switch {
	case err != nil:
		if was == nil || was.Error() != err.Error() {
			g.config.Logger.Warningf("requests cannot be forwarded: %s", oneLine(err))
		}
		g.config.Lead(interrex.Leadership{Term: g.told.Term})
		return
	case was != nil || m.ID != g.told.ID:
		g.config.Logger.Infof("requests are forwarded to %s, a member of the cluster %s", m.ID, m.ClusterID)
	}
	g.told = *m
	g.config.Lead(interrex.Leadership{Term: m.Term, LeaderID: m.LeaderID, LeaderAddress: m.LeaderAddress})
}

// ask makes one request to a member, the first that answers.
func (g *Gateway) ask(ctx context.Context) (*Members, error) {
	body, err := json.Marshal(whereabouts{Version: g.config.Version})
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://member"+membersPath, io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		return nil, err
	}
	response, err := g.RoundTrip(post)
	if err != nil {
		return nil, err
	}
	m, err := peercall.Read[Members]("the member", response)
	if err != nil && ctx.Err() == nil { // another one may take requests
		g.demote(g.addresses()[0])
	}
	return m, err
}

// addresses returns the members' addresses, in the order in which they are tried.
func (g *Gateway) addresses() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := map[string]bool{}
	for _, address := range slices.Concat(g.config.Join(), g.told.Addresses) {
		if len(known) < maxAddresses {
			known[address] = true
		}
	}
	g.order = slices.DeleteFunc(g.order, func(address string) bool { return !known[address] })
	for address := range known {
		if !slices.Contains(g.order, address) { // agents spread over the members
			g.order = slices.Insert(g.order, rand.N(len(g.order)+1), address)
		}
	}
	for address, l := range g.lines {
		if !known[address] {
			l.CloseIdleConnections()
			delete(g.lines, address)
		}
	}
	return slices.Clone(g.order)
}

// line returns the connections to a member.
func (g *Gateway) line(address string) *memberLine {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lines[address]
	if l == nil {
		l = newMemberLine(address, g.config.TLS, g.config.Dialer)
		g.lines[address] = l
	}
	return l
}

// demote makes an address the last one to be tried.
func (g *Gateway) demote(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.order, address); i >= 0 {
		g.order = append(slices.Delete(g.order, i, i+1), address)
	}
}

// RoundTrip sends a request to a member. Where it was provably not sent it goes to the
// next one. The error is ErrUnavailable if it was sent to none, and ErrOutcomeUnknown if
// it may have been.
func (g *Gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	body := &watchedBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = body
	}
	var failed []error
	for _, address := range g.addresses() {
		response, err := g.line(address).RoundTrip(r)
		if err == nil {
			return response, nil
		}
		if !errors.Is(r.Context().Err(), context.Canceled) {
			g.demote(address)
		}
		err = fmt.Errorf("%s: %w", address, err)
		if unsent := isUnsent(err); !unsent || body.read.Load() || r.Context().Err() != nil {
			return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "the connection to the member that the request was forwarded to was lost: %v", err)
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		failed = append(failed, errors.New("no address is known"))
	}
	err := interrex.Errorf(interrex.ErrUnavailable, "no member of the cluster is reached, and nothing has happened: %s", oneLine(errors.Join(failed...)))
	err.RetryAfter = time.Second
	return nil, err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Told returns what the member in use has told last; its zero value: none is reached.
func (g *Gateway) Told() Members {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return Members{}
	}
	return g.told
}

// Failed returns since when no member is reached, and why; nil: one is.
func (g *Gateway) Failed() (since time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since, g.failed
}

// Words says where requests are forwarded to.
func (g *Gateway) Words() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return fmt.Sprintf("runs without raft, and reaches no member (since %s): %s", g.since.UTC().Format(time.RFC3339), oneLine(g.failed))
	}
	at := ""
	if len(g.order) > 0 {
		at = " at " + g.order[0]
	}
	return fmt.Sprintf("runs without raft: requests are forwarded to %s%s, led by %s", g.told.ID, at, cmp.Or(g.told.LeaderID, "nobody"))
}

// Report implements dependency.Reporter.
func (g *Gateway) Report() map[string]any {
	words := g.Words()
	g.mu.Lock()
	defer g.mu.Unlock()
	return map[string]any{
		"forwards": words, "addresses": strings.Join(g.order, ", "), "for": wording.Rounded(g.config.Clock.Now().Sub(g.since)),
	}
}
