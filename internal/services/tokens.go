package services

import (
	"cmp"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Tokens implements TokenService.
type Tokens struct {
	Table *access.Table
	// CheckRule returns why a rule would never allow anything; see
	// method.Registry.CheckRule.
	CheckRule func(interrex.AccessRule) error
}

// Service returns the methods.
func (s Tokens) Service() method.Service {
	return method.Service{Methods: []method.Method{
		method.Write(interrexv1.TokenServiceCreateProcedure, machine.AccessTable, s.create, tokenCreated),
		method.Write(interrexv1.TokenServiceRevokeProcedure, machine.AccessTable, revokeToken, tokenRevoked),
		method.Read(interrexv1.TokenServiceListProcedure, s.list),
	}}
}

func (s Tokens) create(m *interrexv1.TokenServiceCreateRequest) (state.Command, error) {
	var in wire.Reader
	c := &access.Create{Name: m.GetName(), Operator: m.GetOperator(), Rules: wire.FromAccessRules(m.GetRules())}
	if n := copy(c.Hash[:], m.GetHash()); n != len(m.GetHash()) || n != len(c.Hash) {
		return c, interrex.Errorf(interrex.ErrInvalid, "hash: %d bytes: a SHA-256 has %d", len(m.GetHash()), len(accesstoken.Hash{}))
	}
	for _, rule := range c.Rules {
		if err := cmp.Or(rule.Validate(), validation.Plain("rule", rule.Prefix)); err != nil {
			return c, err
		}
		if err := s.CheckRule(rule); err != nil {
			return c, err
		}
	}
	if m.GetTtl() != nil {
		c.TTL = in.Positive("ttl", m.GetTtl())
	}
	return c, in.Err
}

func tokenCreated(r state.Result, st state.State) (*interrexv1.TokenServiceCreateResponse, error) {
	reply, is := r.Reply.(*access.Reply)
	if !is {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	return &interrexv1.TokenServiceCreateResponse{Token: accessToken(reply.Token, st), Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func accessToken(t *access.Token, st state.State) *interrexv1.AccessToken {
	all := interrex.AccessToken{ID: t.ID(), Name: t.Name, Operator: t.Operator, Rules: t.Rules, Revision: t.Created}
	if t.Expires != 0 {
		now, wall := st.Estimate()
		all.Remaining = max(1, t.Expires.Sub(now))
		all.ExpiresAt = wall.Add(all.Remaining)
	}
	return wire.AccessToken(all)
}

func revokeToken(m *interrexv1.TokenServiceRevokeRequest) (state.Command, error) {
	return &access.Revoke{ID: m.GetId()}, nil
}

func tokenRevoked(r state.Result, _ state.State) (*interrexv1.TokenServiceRevokeResponse, error) {
	return &interrexv1.TokenServiceRevokeResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func (s Tokens) list(_ *interrexv1.TokenServiceListRequest, st state.State) (*interrexv1.TokenServiceListResponse, error) {
	m := &interrexv1.TokenServiceListResponse{Revision: uint64(st.Revision())}
	for _, t := range s.Table.Tokens() {
		m.Items = append(m.Items, accessToken(t, st))
	}
	return m, nil
}
