package assembly

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/renewal"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/transport"
)

// repairCertificate finishes a renewal that was cut, and issues the certificate again if
// it has ended and this agent can do so.
func (s *Set) repairCertificate(dir *datadir.Dir) {
	if !s.ownCertificate(dir) || check.Pending(s.section()) {
		return
	}
	log := s.logger("certificate")
	if err := authority.FinishRenewal(dir.Path); err != nil {
		log.Errorf("cannot finish the renewal of this agent's certificate: %v", err)
	}
	switch done, err := authority.Reissue(dir.Path, dir.ID, s.config.Agent.Clock.Now()); {
	case err != nil:
		log.Errorf("%v", err)
	case done:
		log.Infof("this agent's certificate had ended, and was issued again with the CA's key, which is here")
	}
}

// ownCertificate reports whether the agent's certificate is in its directory, where it is
// renewed; else it comes from elsewhere.
func (s *Set) ownCertificate(dir *datadir.Dir) bool {
	return s.config.Agent.TLS == nil && s.section().Cluster.TLS == enrolment.OwnFiles(dir.Path)
}

// issuer renews certificates with the CA's key of this agent.
func (s *Set) issuer(dir *datadir.Dir, table *member.Table) renewal.Issuer {
	return renewal.Issuer{
		Dir: dir.Path, Table: table, Now: s.config.Agent.Clock.Now, Logger: s.logger("certificate"),
		Record: func(ctx context.Context, c *member.Recertify) ([][]byte, error) {
			mine := s.Client()
			if mine == nil {
				return nil, interrex.Errorf(interrex.ErrUnavailable, "this agent is starting or stopping")
			}
			m, err := client.Call[interrexv1.RecertifyRequest, interrexv1.RecertifyResponse](ctx, mine, interrexv1.CertificateServiceRecertifyProcedure, &interrexv1.RecertifyRequest{
				Id: c.ID, Key: []byte(c.Key), Former: []byte(c.Former), Signature: []byte(c.Signature),
			}, client.Options{})
			return m.GetAuthorities(), err
		},
	}
}

// startRenewal renews this agent's certificate.
func (s *Set) startRenewal(u *unit.Unit) (worker.Worker, error) {
	t, table := unit.Need[*peering.Transport](u, TransportName), unit.Need[*member.Table](u, StateName)
	dir := unit.Need[*datadir.Dir](u, identityName)
	now := unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	if !s.ownCertificate(dir) {
		return nil, nil // others renew it
	}
	own := unit.Need[transport.TLS](u, TransportName)
	if u.Err != nil {
		return nil, u.Err
	}
	here := s.issuer(dir, table)
	return renewal.NewWorker(renewal.Config{
		ID: dir.ID, Dir: dir.Path, Certificate: own.Certificate, Changed: t.Announce, Clock: now, Logger: s.logger("certificate"),
		Return: authority.HowToReturn(dir.ID, dir.Path, false),
		Names:  func() []string { return enrolment.Names(s.section()) },
		Member: func() bool { return table.CA() != "" && table.Member(dir.ID) != nil },
		Wanted: func(present *x509.Certificate) bool {
			row := table.Member(dir.ID)
			return row != nil && (row.Renew || table.IssuedByFormer(present)) && (row.Key == "" || row.Key == string(present.RawSubjectPublicKeyInfo))
		},
		Trusted: table.Trusted, Gone: table.Gone,
		Ask: func(ctx context.Context, q *renewal.Request) (*renewal.Grant, error) {
			if grant, err := here.Issue(ctx, q); !errors.Is(err, interrex.ErrNotFound) {
				return grant, err
			}
			return s.askOthers(ctx, t, jointoken.PinOfDER([]byte(table.CA())).String(), q)
		},
	})
}

// askOthers asks the agents that keep the key of the CA with a pin, the one that leads
// first.
func (s *Set) askOthers(ctx context.Context, t *peering.Transport, pin string, q *renewal.Request) (*renewal.Grant, error) {
	var ids []string
	leader := s.Leadership.Current().LeaderID
	for _, peer := range t.Peers() {
		switch has := slices.Contains(peer.CAKeys, pin); {
		case has && peer.ID == leader:
			ids = append([]string{peer.ID}, ids...)
		case has:
			ids = append(ids, peer.ID)
		}
	}
	failed := []error{}
	for _, id := range ids {
		grant, err := renewal.Ask(ctx, t.DialAPI, id, q)
		if err == nil {
			return grant, nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "no agent that was met has the CA's key")
	}
	return nil, errors.Join(failed...)
}
