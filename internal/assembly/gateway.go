package assembly

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/renewal"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/transport"
)

// WithoutRaft reports whether this is an agent without raft: its state is empty.
func (s *Set) WithoutRaft() bool { return s.config.Agent.Raft.Enabled == config.Off }

// startGateway forwards the requests of an agent without raft to members.
func (s *Set) startGateway(u *unit.Unit) (worker.Worker, error) {
	now, section := unit.Need[clock.Clock](u, ClockName), unit.Need[config.Cluster](u, clusterConfigName)
	slot, dir := unit.Need[unit.Offerer[*forward.Gateway]](u, gatewaySlotName), unit.Need[*datadir.Dir](u, identityName)
	if u.Err != nil {
		return nil, u.Err
	}
	given := s.config.Agent.checked().Certificates(section)
	if err := s.fitsGateway(given, dir); err != nil {
		return nil, err
	}
	is := dir.Present()
	c := forward.GatewayConfig{
		TLS: given, Dialer: s.config.Agent.Dialer, Join: func() []string { return section.Join },
		Token: (&configuredToken{path: func() string { return s.section().API.TokenFile }}).token,
		Lead:  s.Leadership.Set, Version: s.config.Agent.Version, Clock: now, Logger: logs.NewRepeats(now, s.logger("forward")),
		Known: forward.Cluster{ID: is.Joins, Epoch: is.Epoch},
		Note:  func(c forward.Cluster) error { return dir.NoteForwards(c.ID, c.Epoch) },
	}
	if s.ownCertificate(dir) {
		c.Trusts = func(cas [][]byte) []string { return inTrust(given, cas) }
		c.Return = authority.HowToReturn(dir.ID, dir.Path, true)
	}
	g := forward.NewGateway(c)
	slot.Offer(u, g)
	u.Give(g, given)
	return g, nil
}

// configuredToken reads the file that api.token-file names now.
type configuredToken struct {
	path func() string

	mu   sync.Mutex
	file *accesstoken.File
}

// token returns the token, "" if no file is named.
func (c *configuredToken) token() (string, error) {
	path := c.path()
	if path == "" {
		return "", nil
	}
	c.mu.Lock()
	if c.file == nil || c.file.Path != path {
		c.file = &accesstoken.File{Path: path}
	}
	file := c.file
	c.mu.Unlock()
	return file.Token()
}

// fitsGateway returns why an agent cannot run without raft.
func (s *Set) fitsGateway(given transport.TLS, dir *datadir.Dir) error {
	if given == nil {
		return errors.New("cluster.tls: an agent without raft needs a certificate: set ca, cert and key, or cluster.join-token-file")
	}
	if is := dir.Present(); is.ClusterID != "" {
		return interrex.Errorf(interrex.ErrConflict, "agent %s cannot run without raft: its data directory has the log of a member of the cluster %s: "+
			"set raft.enabled to true, or remove it with 'interrex member remove %s', and give it an empty directory", is.ID, is.ClusterID, is.ID)
	}
	_, err := given.Certificate()
	return err
}

// elsewhere is the members' API, for an agent without raft; while its gateway does not
// run, everything is refused.
type elsewhere struct {
	gateway unit.Handle[*forward.Gateway]
}

var _ apiserver.Elsewhere = elsewhere{}

// ServeHTTP implements apiserver.Elsewhere.
func (e elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g, is := e.gateway.Now(); is {
		g.ServeHTTP(w, r)
		return
	}
	admission.Refuse(w, r, noGateway())
}

// May implements apiserver.Elsewhere.
func (e elsewhere) May(r *http.Request) error {
	if g, is := e.gateway.Now(); is {
		return g.May(r)
	}
	return noGateway()
}

// Epoch implements apiserver.Elsewhere.
func (e elsewhere) Epoch() interrex.Epoch {
	if g, is := e.gateway.Now(); is {
		return g.Cluster().Epoch
	}
	return interrex.Epoch{}
}

func noGateway() error {
	return interrex.Errorf(interrex.ErrUnavailable, "this agent forwards requests to members, and cannot yet: its 'interrex status', over its socket, says why; nothing has happened")
}

// startForwardersRenewal renews the certificate of an agent without raft.
func (s *Set) startForwardersRenewal(u *unit.Unit) (worker.Worker, error) {
	now, dir := unit.Need[clock.Clock](u, ClockName), unit.Need[*datadir.Dir](u, identityName)
	g, own := unit.Need[*forward.Gateway](u, gatewayName), unit.Need[transport.TLS](u, gatewayName)
	if u.Err != nil {
		return nil, u.Err
	}
	if !s.ownCertificate(dir) {
		return nil, nil // others renew it
	}
	return renewal.NewWorker(renewal.Config{
		ID: dir.ID, Dir: dir.Path, Certificate: own.Certificate, Changed: func() {}, Clock: now, Logger: s.logger("certificate"),
		Names:   func() []string { return enrolment.Names(s.section()) },
		Return:  authority.HowToReturn(dir.ID, dir.Path, true),
		Member:  func() bool { return len(g.Orders().Authorities) > 0 },
		Wanted:  func(present *x509.Certificate) bool { return g.Orders().Renews(present) },
		Trusted: func() [][]byte { return g.Orders().Authorities }, Gone: func(pin jointoken.Pin) bool { return g.Orders().Gone(pin) },
		Ask: func(ctx context.Context, q *renewal.Request) (*renewal.Grant, error) {
			var failed []error
			for _, address := range g.Told().Addresses {
				grant, err := renewal.Ask(ctx, func(ctx context.Context, address string) (net.Conn, error) {
					return forward.Dial(ctx, address, own, s.config.Agent.Dialer)
				}, address, q)
				if err == nil {
					return grant, nil
				}
				failed = append(failed, err)
			}
			return nil, errors.Join(append(failed, errors.New("no member that was asked has renewed the certificate"))...)
		},
	})
}

// startAPIForwarded serves, at a member, the agents without raft.
func (s *Set) startAPIForwarded(u *unit.Unit) (worker.Worker, error) {
	t, server := unit.Need[*peering.Transport](u, TransportName), unit.Need[*apiserver.Server](u, apiName)
	dir, st, table := unit.Need[*datadir.Dir](u, identityName), unit.Need[*machine.State](u, StateName), unit.Need[*member.Table](u, StateName)
	if u.Err != nil {
		return nil, u.Err
	}
	l, err := t.ForwardListener()
	if err != nil {
		return nil, err
	}
	mux, rules := http.NewServeMux(), s.rules(dir, st, table)
	s.issuer(dir, table).Serve(mux)
	c := forward.MemberConfig{
		Callers: server.ForwardedHandler(), May: rules.MayForward, Remove: s.removeForwarder,
		Epoch: func() interrex.Epoch { _, epoch := rules.Cluster(); return epoch }, Logger: logs.NewRepeats(s.config.Agent.Clock, s.logger("forward")),
	}
	c.Tell = func(id string, from *forward.Whereabouts) (*forward.Members, error) {
		if server.Draining() {
			return nil, admission.DrainingError()
		}
		if err := s.quarantined(); err != nil {
			return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
		}
		row := table.Member(id)
		if row != nil {
			s.forwarders.Note(id, forward.Said{Whereabouts: *from, At: s.config.Agent.Clock.Now()})
		}
		m := &forward.Members{ID: t.ID(), Revision: st.Revision(), Addresses: addresses(t), Orders: orders(row, table)}
		m.ClusterID, m.Epoch = rules.Cluster()
		l := s.Leadership.Current()
		m.LeaderID, m.LeaderAddress, m.Term = l.LeaderID, l.LeaderAddress, l.Term
		return m, nil
	}
	return listener.New(listener.Config{
		Listener: l, Handler: forward.Serve(mux, c), Logger: s.logger("forward"),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return peercall.WithPeer(ctx, inbound.PeerOf(c))
		},
	})
}

// removeForwarder removes an agent without raft that leaves the cluster.
func (s *Set) removeForwarder(ctx context.Context, id string) error {
	mine := s.Client()
	if mine == nil {
		return interrex.Errorf(interrex.ErrUnavailable, "this agent is starting or stopping")
	}
	_, err := mine.Members().Remove(ctx, id)
	return err
}

// addresses returns the cluster addresses of all members.
func addresses(t *peering.Transport) (all []string) {
	var ids []string
	for _, peer := range t.Peers() {
		ids = append(ids, peer.ID)
	}
	for _, id := range append(ids, t.ID()) {
		if address := t.Address(id); inbound.CheckAddress(address) == nil {
			all = append(all, address)
		}
	}
	return all
}

// orders returns what an agent without raft is to do about its certificates. row is what
// is recorded of it; nil: nothing is.
func orders(row *member.Member, table *member.Table) forward.Orders {
	var o forward.Orders
	o.Authorities, o.Former, o.Rotating = table.Authorities()
	if row != nil {
		o.Renew, o.Key = row.Renew, []byte(row.Key)
	}
	return o
}
