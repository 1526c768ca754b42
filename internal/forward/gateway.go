package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/transport"
)

// askPeriod is the time between two looks at the member in use, askTimeout bounds one of
// them, and answerTimeout the answer of one member.
const (
	askPeriod     = 2 * time.Second
	askTimeout    = 10 * time.Second
	answerTimeout = 4 * time.Second
)

// surveyPeriod is the time between two looks at all members, and rotationPeriod is the
// same while the CA is rotated, for which each of them is told which CAs this agent trusts.
const (
	surveyPeriod   = time.Minute
	rotationPeriod = 10 * time.Second
)

// leaderPatience is how long the member in use may know no leader before another one is
// used that knows one.
const leaderPatience = 2 * time.Second

// GatewayConfig is the configuration of a Gateway.
type GatewayConfig struct {
	TLS    transport.TLS
	Dialer transport.Dialer // nil: a *net.Dialer
	// Join returns the cluster addresses of members that are configured.
	Join func() []string
	// Token returns the agent's own access token; empty: it has none.
	Token func() (string, error)
	// Lead is told who leads.
	Lead func(interrex.Leadership)
	// Known is the cluster that the agent has forwarded to before, and Note is called
	// when it is another one, or in a later epoch, before anything is forwarded there.
	Known Cluster
	Note  func(Cluster) error
	// Trusts returns the pins of those CAs, in DER, that the agent trusts; nil: its
	// certificates come from elsewhere.
	Trusts func(cas [][]byte) []string
	// Return says how the agent gets a certificate that the members accept; empty: it
	// comes from elsewhere.
	Return  string
	Version string
	Clock   clock.Clock
	Logger  interrex.Logger
}

// Gateway forwards the requests of an agent without raft to a member: to one of them, as
// long as that one answers and knows a leader. It is a worker, and the handler of these
// requests.
type Gateway struct {
	*unit.Loop
	config  GatewayConfig
	proxy   http.Handler
	members roster
	cluster allegiance
	room    room
	// surveyed is when all members were asked last, and trusted what they were told then.
	// Only the loop uses them.
	surveyed time.Time
	trusted  []string

	mu         sync.Mutex
	told       Members   // by the member in use; its zero value: nothing yet
	orders     Orders    // the newest of those that were told
	asOf       uint64    // the revision of the orders
	leaderless time.Time // since when the member in use knows no leader; zero: it knows one
	failed     error     // why no member is reached; nil: one is
	since      time.Time // since when that is so
}

// NewGateway starts a Gateway.
func NewGateway(c GatewayConfig) *Gateway {
	g := &Gateway{
		config: c, since: c.Clock.Now(), failed: errors.New("no member has been asked yet"),
		cluster: allegiance{note: c.Note, cluster: c.Known},
		members: roster{tls: c.TLS, dialer: c.Dialer, lines: map[string]*memberLine{}},
		room:    room{most: lineRequests, what: "requests at a member"},
	}
	g.proxy = g.newProxy()
	g.Loop = unit.Run(g.run)
	return g
}

// run asks who the members are until ctx ends, and closes idle connections then.
func (g *Gateway) run(ctx context.Context) error {
	for {
		g.look(ctx)
		if !backoff.Pause(ctx, g.config.Clock.After(backoff.Jittered(askPeriod))) {
			break
		}
	}
	g.members.rest(true)
	return nil
}

// look asks a member who the members are, where it is time asks all of them, and notes
// what they say.
func (g *Gateway) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, address, err := g.ask(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // this agent is stopping
	}
	if err == nil && g.surveyDue(m) {
		m = g.survey(ctx, m, address)
	}
	g.note(m, err)
}

// note notes what the member in use says, or why none is reached.
func (g *Gateway) note(m *Members, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		err = errors.New(message(err))
	}
	was, now := g.failed, g.config.Clock.Now()
	if g.failed = err; (was == nil) != (err == nil) {
		g.since = now
	}
	switch {
	case err != nil:
		if was == nil || was.Error() != err.Error() {
			g.config.Logger.Warningf("requests cannot be forwarded: %v", err)
		}
		g.config.Lead(interrex.Leadership{Term: g.told.Term})
		return
	case was != nil || m.ID != g.told.ID:
		g.config.Logger.Infof("requests are forwarded to %s, a member of the cluster %s in epoch %d", m.ID, m.ClusterID, m.Epoch.Number)
	}
	switch {
	case m.LeaderID != "":
		g.leaderless = time.Time{}
	case g.leaderless.IsZero():
		g.leaderless = now
	}
	if m.Epoch != g.told.Epoch || uint64(m.Revision) >= g.asOf { // a member may be behind
		g.orders, g.asOf = m.Orders, uint64(m.Revision)
	}
	g.told = *m
	g.config.Lead(interrex.Leadership{Term: m.Term, LeaderID: m.LeaderID, LeaderAddress: m.LeaderAddress})
}

// ask makes one request to a member, the first that answers, and returns its address.
func (g *Gateway) ask(ctx context.Context) (*Members, string, error) {
	var failed []error
	for _, address := range g.addresses() {
		m, err := g.askAt(ctx, address)
		if err == nil {
			err = g.cluster.accept(m)
		}
		switch {
		case err == nil:
			return m, address, nil
		case errors.Is(ctx.Err(), context.Canceled):
			return nil, "", err
		}
		failed = append(failed, at(address, err))
		g.members.demote(address)
		if ctx.Err() != nil { // the next look begins with those that were not asked
			break
		}
	}
	return nil, "", g.unreached(failed)
}

// askAt makes one request to the member at an address.
func (g *Gateway) askAt(ctx context.Context, address string) (*Members, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	said := Whereabouts{Version: g.config.Version, Trusts: g.trusts()}
	return call[Members](ctx, g.members.line(address), g.cluster.mark, membersPath, said)
}

// message returns an error's text without its kind.
func message(err error) string {
	var known *interrex.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return err.Error()
}

// at says at which address an error occurred.
func at(address string, err error) error {
	var known *interrex.Error
	if errors.As(err, &known) {
		return errors.New(known.Message) // it names the member
	}
	return fmt.Errorf("%s: %w", address, err)
}

// unreached is the error where no member takes a request.
func (g *Gateway) unreached(failed []error) error {
	if len(failed) == 0 {
		failed = append(failed, errors.New("no address is known"))
	}
	hint := ""
	if joined := errors.Join(failed...); g.config.Return != "" && distrusted(joined) {
		hint = ": if they do not accept this agent any more, " + g.config.Return
	}
	err := interrex.Errorf(interrex.ErrUnavailable, "no member of the cluster takes this agent's requests, and nothing has happened: %s%s", oneLine(errors.Join(failed...)), hint)
	err.RetryAfter = time.Second
	return err
}

// trusts returns the pins of the cluster's CAs that this agent trusts.
func (g *Gateway) trusts() []string {
	if g.config.Trusts == nil {
		return nil
	}
	now := g.Orders()
	return g.config.Trusts(slices.Concat(now.Authorities, now.Former))
}

// surveyDue reports whether all members are to be asked now. m is what the one in use
// says.
func (g *Gateway) surveyDue(m *Members) bool {
	period := surveyPeriod
	switch {
	case m.LeaderID == "" && g.isLeaderless():
		return true
	case m.Rotating && !slices.Equal(g.trusted, g.trusts()):
		return true
	case m.Rotating:
		period = rotationPeriod
	}
	return g.surveyed.IsZero() || g.config.Clock.Now().Sub(g.surveyed) >= period
}

// isLeaderless reports whether the member in use has known no leader for leaderPatience.
func (g *Gateway) isLeaderless() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.leaderless.IsZero() && g.config.Clock.Now().Sub(g.leaderless) >= leaderPatience
}

// survey asks all other members than the one in use, and returns what the one says that
// is to be used from now on: another one in a later epoch, or that knows a leader.
func (g *Gateway) survey(ctx context.Context, now *Members, address string) *Members {
	g.surveyed, g.trusted = g.config.Clock.Now(), g.trusts()
	addresses := slices.DeleteFunc(g.members.present(), func(other string) bool { return other == address })
	said := make([]*Members, len(addresses))
	var asking sync.WaitGroup
	for i, other := range addresses {
		asking.Go(func() { said[i], _ = g.askAt(ctx, other) }) // one that does not answer is not used
	}
	asking.Wait()
	best := address
	for i, m := range said {
		if m == nil || g.cluster.accept(m) != nil {
			continue
		}
		if m.Epoch.Number > now.Epoch.Number || now.LeaderID == "" && m.LeaderID != "" && g.isLeaderless() {
			now, best = m, addresses[i]
		}
	}
	if best != address {
		g.members.use(best)
	}
	g.members.rest(false)
	return now
}

// addresses returns the members' addresses, in the order in which they are tried.
func (g *Gateway) addresses() []string {
	g.mu.Lock()
	told := g.told.Addresses
	g.mu.Unlock()
	return g.members.addresses(slices.Concat(g.config.Join(), told))
}

// Leave has this agent removed from its cluster.
func (g *Gateway) Leave(ctx context.Context) error {
	var failed []error
	for _, address := range g.addresses() {
		_, err := call[struct{}](ctx, g.members.line(address), g.cluster.mark, leavePath, struct{}{})
		if err == nil || errors.Is(err, interrex.ErrRemoved) || errors.Is(err, interrex.ErrNotFound) {
			return nil // it is not recorded, or not any more
		}
		failed = append(failed, at(address, err))
	}
	return interrex.Errorf(interrex.ErrUnavailable, "cannot leave: no member has removed this agent: %s", oneLine(errors.Join(failed...)))
}

// RoundTrip sends a request to a member. Where it was provably not sent it goes to the
// next one. The error is ErrUnavailable if it was sent to none, and ErrOutcomeUnknown if
// it may have been.
func (g *Gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	g.cluster.mark(r.Header)
	var failed []error
	for _, address := range g.addresses() {
		attempt, body := r.WithContext(r.Context()), &watchedBody{ReadCloser: r.Body}
		if r.Body != nil && r.Body != http.NoBody {
			attempt.Body = body
		}
		response, err := g.members.line(address).RoundTrip(attempt)
		if err == nil {
			return response, nil
		}
		if !errors.Is(r.Context().Err(), context.Canceled) {
			g.members.demote(address)
		}
		var ended *interrex.Error
		if errors.As(context.Cause(r.Context()), &ended) { // this agent is stopping
			return nil, ended
		}
		err = fmt.Errorf("%s: %w", address, err)
		if unsent := isUnsent(err); !unsent || body.wasRead() || r.Context().Err() != nil {
			return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "the connection to the member that the request was forwarded to was lost: %v", err)
		}
		failed = append(failed, err)
	}
	return nil, g.unreached(failed)
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

// Orders returns the newest of what was told about certificates.
func (g *Gateway) Orders() Orders {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.orders
}

// Cluster returns the cluster that requests are forwarded to; its zero value: it is not
// known yet.
func (g *Gateway) Cluster() Cluster { return g.cluster.now() }

// Leaderless returns since when the member in use, which is named, knows no leader;
// zero: it knows one, or none is reached.
func (g *Gateway) Leaderless() (since time.Time, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return time.Time{}, ""
	}
	return g.leaderless, g.told.ID
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
		return fmt.Sprintf("runs without raft, and forwards nothing (since %s): %s", g.since.UTC().Format(time.RFC3339), g.failed)
	}
	at := ""
	if order := g.members.present(); len(order) > 0 {
		at = " at " + order[0]
	}
	return fmt.Sprintf("runs without raft: requests are forwarded to %s%s, led by %s", g.told.ID, at, cmp.Or(g.told.LeaderID, "nobody"))
}

// Report implements dependency.Reporter.
func (g *Gateway) Report() map[string]any {
	words := g.Words()
	g.mu.Lock()
	defer g.mu.Unlock()
	return map[string]any{
		"forwards": words, "addresses": strings.Join(g.members.present(), ", "), "for": wording.Rounded(g.config.Clock.Now().Sub(g.since)),
	}
}
