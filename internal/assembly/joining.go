package assembly

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/joining"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/state"
)

// startJoining lets agents join at the cluster port.
func (s *Set) startJoining(u *unit.Unit) (worker.Worker, error) {
	t, table := unit.Need[*peering.Transport](u, TransportName), unit.Need[*member.Table](u, StateName)
	st, dir := unit.Need[*machine.State](u, StateName), unit.Need[*datadir.Dir](u, identityName)
	mine, now := unit.Need[*client.Client](u, ClientName), unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	l, err := t.JoinListener()
	if err != nil {
		return nil, err
	}
	addresses := func(of func(peering.Hello) bool) (all []string) {
		for _, h := range append([]peering.Hello{t.Self()}, t.Peers()...) {
			if a := t.Address(h.ID); a != "" && of(h) {
				all = append(all, a)
			}
		}
		return all
	}
	handler := joining.NewHandler(joining.HandlerConfig{
		Table: table, Wall: now.Now, Logger: s.logger("joining"),
		Now:       func() state.Time { is, _ := st.Estimate(); return is },
		Admit:     func(ctx context.Context, c *member.Admit) ([][]byte, error) { return admit(ctx, mine, c) },
		Authority: func(der []byte) (*authority.Authority, error) { return authority.LoadOf(dir.Path, der) },
		ClusterID: func() string { return st.Identity().ClusterID },
		Epoch:     func() interrex.Epoch { return st.Identity().Epoch },
		Members:   func() []string { return addresses(func(peering.Hello) bool { return true }) },
		Voters:    func() []string { return addresses(func(h peering.Hello) bool { return h.ID != dir.ID }) },
		Session: func(ctx context.Context) *tls.ConnectionState {
			session, _ := ctx.Value(sessionKey{}).(*tls.ConnectionState)
			return session
		},
	})
	return listener.New(listener.Config{
		Listener: l, Handler: handler, Logger: s.logger("joining"), OnlyHTTP1: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, peering.Session(c))
		},
	})
}

type sessionKey struct{}

// admit has an agent admitted by the leader, and returns the CAs that the cluster trusts.
func admit(ctx context.Context, by client.Caller, c *member.Admit) ([][]byte, error) {
	m, err := client.Call[interrexv1.AdmitRequest, interrexv1.AdmitResponse](ctx, by, interrexv1.MemberServiceAdmitProcedure, &interrexv1.AdmitRequest{
		Id: c.ID, Token: c.Token, Key: []byte(c.Key), Session: []byte(c.Session), Request: []byte(c.Request),
		Signature: []byte(c.Signature), Former: []byte(c.Former), Incarnation: c.Incarnation, Forwards: c.Forwards,
	}, client.Options{})
	return m.GetAuthorities(), err
}
