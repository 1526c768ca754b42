package client

import (
	"context"
	"crypto/x509"
	"math"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/wire"
)

// Members returns the cluster's members: see Calls.Members.
func (c *Client) Members() interrex.Members { return Through(c).Members() }

// Members returns the members of the cluster. Requests are retried
// until they are answered.
func (c Calls) Members() interrex.Members { return members(c) }

type members struct{ by Caller }

func (s members) List(ctx context.Context, o interrex.ReadOptions) ([]interrex.Member, interrex.Revision, error) {
	m, err := Call[interrexv1.MemberServiceListRequest, interrexv1.MemberServiceListResponse](ctx, s.by, interrexv1.MemberServiceListProcedure,
		&interrexv1.MemberServiceListRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
	if err != nil {
		return nil, 0, err
	}
	var all []interrex.Member
	for _, item := range m.GetItems() {
		one, err := wire.FromMember(item)
		if err != nil {
			return nil, 0, understood(err)
		}
		all = append(all, one)
	}
	return all, interrex.Revision(m.GetRevision()), nil
}

func (s members) Remove(ctx context.Context, id string) (interrex.Revision, error) {
	return s.remove(ctx, &interrexv1.MemberServiceRemoveRequest{Id: id})
}

func (s members) ForceRemove(ctx context.Context, id string) (interrex.Revision, error) {
	return s.remove(ctx, &interrexv1.MemberServiceRemoveRequest{Id: id, Force: true})
}

func (s members) remove(ctx context.Context, q *interrexv1.MemberServiceRemoveRequest) (interrex.Revision, error) {
	m, err := Call[interrexv1.MemberServiceRemoveRequest, interrexv1.MemberServiceRemoveResponse](ctx, s.by, interrexv1.MemberServiceRemoveProcedure, q, Options{})
	return interrex.Revision(m.GetRevision()), err
}

func (s members) Add(ctx context.Context, id, clusterAddress string) (interrex.Revision, error) {
	m, err := Call[interrexv1.MemberServiceAddRequest, interrexv1.MemberServiceAddResponse](ctx, s.by, interrexv1.MemberServiceAddProcedure,
		&interrexv1.MemberServiceAddRequest{Id: id, ClusterAddress: clusterAddress}, Options{})
	return interrex.Revision(m.GetRevision()), err
}

func (s members) TransferLeader(ctx context.Context, id string) (interrex.Leadership, error) {
	m, err := Call[interrexv1.TransferLeaderRequest, interrexv1.TransferLeaderResponse](ctx, s.by, interrexv1.MemberServiceTransferLeaderProcedure,
		&interrexv1.TransferLeaderRequest{Id: id}, Options{})
	return interrex.Leadership{LeaderID: m.GetLeaderId(), Term: m.GetTerm()}, err
}

func (s members) SetVoter(ctx context.Context, id string, voter bool) (interrex.Revision, error) {
	m, err := Call[interrexv1.SetVoterRequest, interrexv1.SetVoterResponse](ctx, s.by, interrexv1.MemberServiceSetVoterProcedure,
		&interrexv1.SetVoterRequest{Id: id, Voter: voter}, Options{})
	return interrex.Revision(m.GetRevision()), err
}

func (s members) Certificates(ctx context.Context, o interrex.ReadOptions) ([]interrex.MemberCertificate, interrex.Revision, error) {
	m, err := s.listCertificates(ctx, o)
	if err != nil {
		return nil, 0, err
	}
	var all []interrex.MemberCertificate
	for _, item := range m.GetItems() {
		one, err := wire.FromCertificate(item)
		if err != nil {
			return nil, 0, understood(err)
		}
		all = append(all, one)
	}
	return all, interrex.Revision(m.GetRevision()), nil
}

func (s members) RenewCertificate(ctx context.Context, id string) (interrex.Revision, error) {
	m, err := Call[interrexv1.RenewCertificateRequest, interrexv1.RenewCertificateResponse](ctx, s.by, interrexv1.CertificateServiceRenewCertificateProcedure,
		&interrexv1.RenewCertificateRequest{Id: id}, Options{})
	return interrex.Revision(m.GetRevision()), err
}

func (s members) RotateCA(ctx context.Context, without ...string) (interrex.Revision, error) {
	m, err := Call[interrexv1.RotateCaRequest, interrexv1.RotateCaResponse](ctx, s.by, interrexv1.CertificateServiceRotateCaProcedure,
		&interrexv1.RotateCaRequest{Without: without}, Options{})
	return interrex.Revision(m.GetBegan()), err
}

func (s members) Rotation(ctx context.Context, o interrex.ReadOptions) (interrex.CARotation, error) {
	m, err := s.listCertificates(ctx, o)
	r := m.GetRotation()
	return interrex.CARotation{
		Began: interrex.Revision(r.GetBegan()), Phase: r.GetPhase(), CA: m.GetCa(), Next: r.GetNext(), Waiting: r.GetWaiting(), Without: r.GetWithout(),
	}, err
}

func (s members) listCertificates(ctx context.Context, o interrex.ReadOptions) (*interrexv1.ListCertificatesResponse, error) {
	return Call[interrexv1.ListCertificatesRequest, interrexv1.ListCertificatesResponse](ctx, s.by, interrexv1.CertificateServiceListCertificatesProcedure,
		&interrexv1.ListCertificatesRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
}

func (s members) CreateJoinToken(ctx context.Context, r interrex.JoinTokenRequest) (secret string, t interrex.JoinToken, err error) {
	if r.Uses < 0 || r.Uses > math.MaxUint16 {
		return "", t, interrex.Errorf(interrex.ErrInvalid, "uses: %d is not valid: give 1 to 1000", r.Uses)
	}
	made := jointoken.New(jointoken.Pin{})
	q := &interrexv1.CreateJoinTokenRequest{PublicKey: made.PublicKey(), Member: r.Member, MaxUses: wire.Count(r.Uses)}
	if r.TTL != 0 {
		q.Ttl = durationpb.New(r.TTL)
	}
	m, err := Call[interrexv1.CreateJoinTokenRequest, interrexv1.CreateJoinTokenResponse](ctx, s.by, interrexv1.MemberServiceCreateJoinTokenProcedure, q, Options{})
	if err != nil {
		return "", t, err
	}
	ca, err := x509.ParseCertificate(m.GetCa())
	if err != nil {
		return "", t, interrex.Errorf(interrex.ErrOutcomeUnknown, "the token was created, and the answer has no CA that can be read: %v", err)
	}
	made.Pin = jointoken.PinOf(ca)
	t, err = wire.FromJoinToken(m.GetToken())
	return made.String(), t, understood(err)
}

func (s members) RevokeJoinToken(ctx context.Context, id string) (interrex.Revision, error) {
	m, err := Call[interrexv1.RevokeJoinTokenRequest, interrexv1.RevokeJoinTokenResponse](ctx, s.by, interrexv1.MemberServiceRevokeJoinTokenProcedure,
		&interrexv1.RevokeJoinTokenRequest{Id: id}, Options{})
	return interrex.Revision(m.GetRevision()), err
}

func (s members) JoinTokens(ctx context.Context, o interrex.ReadOptions) ([]interrex.JoinToken, interrex.Revision, error) {
	m, err := Call[interrexv1.ListJoinTokensRequest, interrexv1.ListJoinTokensResponse](ctx, s.by, interrexv1.MemberServiceListJoinTokensProcedure,
		&interrexv1.ListJoinTokensRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
	if err != nil {
		return nil, 0, err
	}
	var all []interrex.JoinToken
	for _, item := range m.GetItems() {
		one, err := wire.FromJoinToken(item)
		if err != nil {
			return nil, 0, understood(err)
		}
		all = append(all, one)
	}
	return all, interrex.Revision(m.GetRevision()), nil
}
