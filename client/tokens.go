package client

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/wire"
)

// Tokens returns the cluster's access tokens: see Calls.Tokens.
func (c *Client) Tokens() interrex.AccessTokens { return Through(c).Tokens() }

// Tokens returns the access tokens of the cluster. Requests are
// retried until they are answered.
func (c Calls) Tokens() interrex.AccessTokens { return accessTokens(c) }

type accessTokens struct{ by Caller }

func (s accessTokens) Create(ctx context.Context, r interrex.AccessTokenRequest) (secret string, t interrex.AccessToken, err error) {
	made := accesstoken.New()
	hash := made.Hash()
	q := &interrexv1.TokenServiceCreateRequest{Hash: hash[:], Name: r.Name, Operator: r.Operator, Rules: wire.AccessRules(r.Rules)}
	if r.TTL != 0 {
		q.Ttl = durationpb.New(r.TTL)
	}
	m, err := Call[interrexv1.TokenServiceCreateRequest, interrexv1.TokenServiceCreateResponse](ctx, s.by, interrexv1.TokenServiceCreateProcedure, q, Options{})
	if err != nil {
		return "", t, err
	}
	t, err = wire.FromAccessToken(m.GetToken())
	return made.String(), t, understood(err)
}

func (s accessTokens) Revoke(ctx context.Context, id string) (interrex.Revision, error) {
	m, err := Call[interrexv1.TokenServiceRevokeRequest, interrexv1.TokenServiceRevokeResponse](ctx, s.by, interrexv1.TokenServiceRevokeProcedure,
		&interrexv1.TokenServiceRevokeRequest{Id: id}, Options{})
	return interrex.Revision(m.GetRevision()), err
}

func (s accessTokens) List(ctx context.Context, o interrex.ReadOptions) ([]interrex.AccessToken, interrex.Revision, error) {
	m, err := Call[interrexv1.TokenServiceListRequest, interrexv1.TokenServiceListResponse](ctx, s.by, interrexv1.TokenServiceListProcedure,
		&interrexv1.TokenServiceListRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
	if err != nil {
		return nil, 0, err
	}
	var all []interrex.AccessToken
	for _, item := range m.GetItems() {
		one, err := wire.FromAccessToken(item)
		if err != nil {
			return nil, 0, understood(err)
		}
		all = append(all, one)
	}
	return all, interrex.Revision(m.GetRevision()), nil
}
