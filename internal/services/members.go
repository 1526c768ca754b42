package services

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Members implements MemberService.
type Members struct {
	Table *member.Table
	// Present returns the members of raft's configuration, as this agent sees them.
	Present func() []interrex.Member
	// HandOver transfers leadership from this agent to a voter, or to any if the ID is
	// empty, and returns who leads then.
	HandOver func(ctx context.Context, id string) (interrex.Leadership, error)
}

// Service returns the methods.
func (s Members) Service() method.Service {
	return method.Service{Data: memberData, Methods: []method.Method{
		method.Read(interrexv1.MemberServiceListProcedure, s.list),
		method.Write(interrexv1.MemberServiceRemoveProcedure, machine.MemberTable, removeMember, memberRemoved),
		method.Write(interrexv1.MemberServiceSetVoterProcedure, machine.MemberTable, setVoter, s.voterSet),
		method.Write(interrexv1.MemberServiceCreateJoinTokenProcedure, machine.MemberTable, createJoinToken, s.joinTokenCreated),
		method.Write(interrexv1.MemberServiceRevokeJoinTokenProcedure, machine.MemberTable, revokeJoinToken, joinTokenRevoked),
		method.Read(interrexv1.MemberServiceListJoinTokensProcedure, s.listJoinTokens),
		method.Write(interrexv1.MemberServiceAddProcedure, machine.MemberTable, addMember, memberAdded),
		method.AtLeader(method.Act(interrexv1.MemberServiceTransferLeaderProcedure, "transfer leadership", s.transferLeader)),
		method.Write(interrexv1.MemberServiceAdmitProcedure, machine.MemberTable, admit, s.admitted),
	}}
}

// list returns the members of the table and of raft's configuration, which need not
// be in line yet.
func (s Members) list(_ *interrexv1.MemberServiceListRequest, st state.State) (*interrexv1.MemberServiceListResponse, error) {
	m := &interrexv1.MemberServiceListResponse{Revision: uint64(st.Revision())}
	all := map[string]interrex.Member{}
	if s.Present != nil {
		for _, present := range s.Present() {
			row := s.Table.Member(present.ID)
			present.Leaving = (row == nil || row.Incarnation == "") && s.Table.WasRemoved(present.ID)
			all[present.ID] = present
		}
	}
	for _, row := range s.Table.Members() {
		all[row.ID] = joined(all[row.ID], row)
	}
	for _, one := range all {
		m.Items = append(m.Items, wire.Member(one))
	}
	slices.SortFunc(m.Items, func(a, b *interrexv1.Member) int { return strings.Compare(a.GetId(), b.GetId()) })
	return m, nil
}

// joined adds to what an agent sees of a member what is recorded.
func joined(m interrex.Member, row *member.Member) interrex.Member {
	m.ID, m.NonVoter, m.Forwards, m.Version, m.Incarnation, m.Added, m.Revision = row.ID, row.NonVoter, row.Forwards, row.Version, row.Incarnation, row.Added, row.Revision
	m.Address, m.APIAddress = cmp.Or(m.Address, row.ClusterAddress), cmp.Or(m.APIAddress, row.APIAddress)
	m.Tables = map[string]uint32{}
	for _, t := range row.Tables {
		m.Tables[t.Name] = uint32(t.Version)
	}
	return m
}

func removeMember(m *interrexv1.MemberServiceRemoveRequest) (state.Command, error) {
	return &member.Remove{ID: m.GetId(), Force: m.GetForce()}, nil
}

func memberRemoved(r state.Result, _ state.State) (*interrexv1.MemberServiceRemoveResponse, error) {
	return &interrexv1.MemberServiceRemoveResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func addMember(m *interrexv1.MemberServiceAddRequest) (state.Command, error) {
	return &member.Add{ID: m.GetId(), Address: m.GetClusterAddress()}, nil
}

func memberAdded(r state.Result, _ state.State) (*interrexv1.MemberServiceAddResponse, error) {
	reply, err := memberReply(r)
	if err != nil {
		return nil, err
	}
	return &interrexv1.MemberServiceAddResponse{
		Member: wire.Member(joined(interrex.Member{}, reply.Member)), Replayed: r.Replayed, Revision: uint64(r.Revision),
	}, nil
}

func (s Members) transferLeader(ctx context.Context, m *interrexv1.TransferLeaderRequest, _ state.State) (*interrexv1.TransferLeaderResponse, error) {
	now, err := s.HandOver(ctx, m.GetId())
	return &interrexv1.TransferLeaderResponse{LeaderId: now.LeaderID, Term: now.Term}, err
}

func setVoter(m *interrexv1.SetVoterRequest) (state.Command, error) {
	return &member.SetVoter{ID: m.GetId(), Voter: m.GetVoter()}, nil
}

func (s Members) voterSet(r state.Result, _ state.State) (*interrexv1.SetVoterResponse, error) {
	reply, err := memberReply(r)
	if err != nil {
		return nil, err
	}
	return &interrexv1.SetVoterResponse{
		Member: wire.Member(joined(interrex.Member{}, reply.Member)), Replayed: r.Replayed, Revision: uint64(r.Revision),
	}, nil
}

// memberReply returns the table's reply.
func memberReply(r state.Result) (*member.Reply, error) {
	reply, is := r.Reply.(*member.Reply)
	if !is || reply.Member == nil && reply.Token == nil {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	return reply, nil
}

func admit(m *interrexv1.AdmitRequest) (state.Command, error) {
	return &member.Admit{
		ID: m.GetId(), Token: m.GetToken(), Key: string(m.GetKey()), Session: string(m.GetSession()), Request: string(m.GetRequest()),
		Signature: string(m.GetSignature()), Former: string(m.GetFormer()), Incarnation: m.GetIncarnation(), Forwards: m.GetForwards(),
	}, nil
}

func (s Members) admitted(r state.Result, _ state.State) (*interrexv1.AdmitResponse, error) {
	reply, err := memberReply(r)
	if err != nil {
		return nil, err
	}
	return &interrexv1.AdmitResponse{Member: wire.Member(joined(interrex.Member{}, reply.Member)), Revision: uint64(r.Revision), Authorities: s.Table.Trusted()}, nil
}

func createJoinToken(m *interrexv1.CreateJoinTokenRequest) (state.Command, error) {
	var in wire.Reader
	c := &member.CreateJoinToken{
		Key: string(m.GetPublicKey()), For: m.GetMember(), Uses: cmp.Or(uint64(m.GetMaxUses()), 1),
		TTL: cmp.Or(in.Positive("ttl", m.GetTtl()), limits.DefaultJoinTTL),
	}
	return c, in.Err
}

func (s Members) joinTokenCreated(r state.Result, st state.State) (*interrexv1.CreateJoinTokenResponse, error) {
	reply, err := memberReply(r)
	if err != nil {
		return nil, err
	}
	return &interrexv1.CreateJoinTokenResponse{
		Token: s.joinToken(reply.Token, st), Ca: []byte(s.Table.CA()), Replayed: r.Replayed, Revision: uint64(r.Revision),
	}, nil
}

func (s Members) joinToken(t *member.JoinToken, st state.State) *interrexv1.JoinToken {
	now, wall := st.Estimate()
	left := max(0, t.Expires.Sub(now))
	all := interrex.JoinToken{
		ID: t.ID, Member: t.For, MaxUses: int(t.MaxUses), Remaining: left, ExpiresAt: wall.Add(left), Revision: t.Created,
		Outdated: s.Table.Outdated(t),
	}
	for _, use := range t.Uses {
		all.UsedBy = append(all.UsedBy, use.ID)
	}
	return wire.JoinToken(all)
}

func revokeJoinToken(m *interrexv1.RevokeJoinTokenRequest) (state.Command, error) {
	return &member.RevokeJoinToken{ID: m.GetId()}, nil
}

func joinTokenRevoked(r state.Result, _ state.State) (*interrexv1.RevokeJoinTokenResponse, error) {
	return &interrexv1.RevokeJoinTokenResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func (s Members) listJoinTokens(_ *interrexv1.ListJoinTokensRequest, st state.State) (*interrexv1.ListJoinTokensResponse, error) {
	m := &interrexv1.ListJoinTokensResponse{Revision: uint64(st.Revision())}
	for _, t := range s.Table.JoinTokens() {
		m.Items = append(m.Items, s.joinToken(t, st))
	}
	return m, nil
}

// memberData implements method.Service.Data: it returns the member as it is recorded.
func memberData(e *state.Event, _ state.State) ([]byte, error) {
	row, is := e.Value.(*member.Member)
	if !is {
		return []byte("null"), nil
	}
	return wire.AppendJSON(nil, wire.Member(joined(interrex.Member{}, row)))
}
