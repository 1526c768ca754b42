package wire

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Member returns the message of a member.
func Member(m interrex.Member) *interrexv1.Member {
	p := &interrexv1.Member{
		Id: m.ID, Suffrage: m.Suffrage, Leader: m.Leader, NonVoter: m.NonVoter, ClusterAddress: m.Address, ApiAddress: m.APIAddress,
		Version: m.Version, Incarnation: m.Incarnation, Tables: m.Tables, AddedAt: Timestamp(m.Added), Revision: uint64(m.Revision),
		Silent: m.Silent, Refusal: m.Refusal, Leaving: m.Leaving, Forwards: m.Forwards,
	}
	if m.LastContact != nil {
		p.LastContact = durationpb.New(*m.LastContact)
	}
	return p
}

// FromMember returns the member of a message.
func FromMember(p *interrexv1.Member) (interrex.Member, error) {
	var in Reader
	m := interrex.Member{
		ID: p.GetId(), Suffrage: p.GetSuffrage(), Leader: p.GetLeader(), NonVoter: p.GetNonVoter(), Address: p.GetClusterAddress(),
		APIAddress: p.GetApiAddress(), Version: p.GetVersion(), Incarnation: p.GetIncarnation(), Revision: interrex.Revision(p.GetRevision()),
		Tables: p.GetTables(), Silent: p.GetSilent(), Refusal: p.GetRefusal(), Leaving: p.GetLeaving(), Forwards: p.GetForwards(), Added: in.Time("added_at", p.GetAddedAt()),
	}
	if p.GetLastContact() != nil {
		ago := in.Duration("last_contact", p.GetLastContact())
		m.LastContact = &ago
	}
	return m, in.Err
}

// JoinToken returns the message of a join token.
func JoinToken(t interrex.JoinToken) *interrexv1.JoinToken {
	return &interrexv1.JoinToken{
		Id: t.ID, Member: t.Member, MaxUses: Count(t.MaxUses), UsedBy: t.UsedBy,
		Remaining: durationpb.New(t.Remaining), ExpiresAt: Timestamp(t.ExpiresAt), Revision: uint64(t.Revision),
		Outdated: t.Outdated,
	}
}

// FromJoinToken returns the join token of a message.
func FromJoinToken(p *interrexv1.JoinToken) (interrex.JoinToken, error) {
	var in Reader
	t := interrex.JoinToken{
		ID: p.GetId(), Member: p.GetMember(), MaxUses: int(p.GetMaxUses()), UsedBy: p.GetUsedBy(), Revision: interrex.Revision(p.GetRevision()),
		Outdated:  p.GetOutdated(),
		Remaining: in.Duration("remaining", p.GetRemaining()), ExpiresAt: in.Time("expires_at", p.GetExpiresAt()),
	}
	return t, in.Err
}

// Certificate returns the message of a member's certificate.
func Certificate(c interrex.MemberCertificate) *interrexv1.MemberCertificate {
	p := &interrexv1.MemberCertificate{Id: c.ID, Serial: c.Serial, Issuer: c.Issuer, Renewing: c.Renewing}
	if !c.Ends.IsZero() {
		p.EndsAt = Timestamp(c.Ends)
	}
	return p
}

// FromCertificate returns the certificate of a message.
func FromCertificate(p *interrexv1.MemberCertificate) (interrex.MemberCertificate, error) {
	var in Reader
	c := interrex.MemberCertificate{ID: p.GetId(), Serial: p.GetSerial(), Issuer: p.GetIssuer(), Renewing: p.GetRenewing()}
	if p.GetEndsAt() != nil {
		c.Ends = in.Time("ends_at", p.GetEndsAt())
	}
	return c, in.Err
}
