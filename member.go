package interrex

import (
	"context"
	"time"
)

// The kinds of the changes of members.
const (
	MemberAdded   = "member.added"
	MemberRemoved = "member.removed"
	MemberChanged = "member.changed"
)

// Members is who belongs to the cluster. The leader brings raft's configuration in
// line with it, one change at a time.
type Members interface {
	// List returns the members, by ID, as one agent sees them.
	List(ctx context.Context, o ReadOptions) ([]Member, Revision, error)
	// Remove removes a member: it loses its vote, then its place in raft's
	// configuration. It keeps its data, and does not come back with it. The error is
	// ErrNotFound if there is no such member, and ErrConflict if the other voters would
	// be no quorum; ForceRemove removes it from raft's configuration once they are.
	Remove(ctx context.Context, id string) (Revision, error)
	ForceRemove(ctx context.Context, id string) (Revision, error)
	// Add admits an agent that has a certificate already, and that the members find at
	// an address, host:port. Adding a member again, at the same address, changes
	// nothing; the error is ErrConflict if the ID has another address.
	Add(ctx context.Context, id, clusterAddress string) (Revision, error)
	// TransferLeader hands leadership over to a voter, or to any if id is empty, and
	// returns who leads then. The error is ErrConflict if the agent has no vote or leads
	// already, and ErrUnavailable if it does not respond.
	TransferLeader(ctx context.Context, id string) (Leadership, error)
	// SetVoter sets whether a member may have a vote. It gets one once it has caught
	// up, where that keeps the number of voters odd.
	SetVoter(ctx context.Context, id string, voter bool) (Revision, error)
	// CreateJoinToken creates a join token, and returns its text, which is a secret
	// that is not kept anywhere. The error is ErrDisabled if the certificates of the
	// cluster's agents come from elsewhere.
	CreateJoinToken(ctx context.Context, r JoinTokenRequest) (secret string, t JoinToken, err error)
	// RevokeJoinToken ends a join token.
	RevokeJoinToken(ctx context.Context, id string) (Revision, error)
	// JoinTokens returns the join tokens that have not ended, by ID.
	JoinTokens(ctx context.Context, o ReadOptions) ([]JoinToken, Revision, error)
	// Certificates returns the members' certificates, by ID.
	Certificates(ctx context.Context, o ReadOptions) ([]MemberCertificate, Revision, error)
	// RenewCertificate asks a member to renew its certificate, which it does as soon as
	// it learns of it. The error is ErrNotFound if there is no such member, and
	// ErrDisabled if the certificates of the cluster's agents come from elsewhere.
	RenewCertificate(ctx context.Context, id string) (Revision, error)
	// RotateCA has the cluster's CA replaced, in phases that wait for every member but
	// those left out. It returns the revision at which that was asked for, once that is in
	// the log; 0: it has ended meanwhile. See Rotation. While a rotation is
	// under way it begins no other, and leaves the further members out too. One that was
	// left out comes back by 'agent join'. The error is ErrNotFound if there is no such
	// member, and ErrDisabled if the certificates of the cluster's agents come from
	// elsewhere.
	RotateCA(ctx context.Context, without ...string) (Revision, error)
	// Rotation returns the rotation of the CA that is under way; Began is 0: none is.
	Rotation(ctx context.Context, o ReadOptions) (CARotation, error)
}

// CARotation is a rotation of the cluster's CA.
type CARotation struct {
	Began Revision // at which it was asked for
	// Phase is "starting", "trusting", "handing", "renewing" or "dropping".
	Phase string
	// CA is the pin of the cluster's CA, as in a join token, and Next that of the one that
	// is to be; empty before there is one, and once it is the cluster's.
	CA, Next string
	// Waiting are the members that the phase waits for, with the reason, as the agent that
	// answers sees it.
	Waiting map[string]string
	Without []string // the members that no phase waits for
}

// MemberCertificate is a member's certificate, as the leader last saw it.
type MemberCertificate struct {
	ID     string // the member's
	Serial string // hexadecimal; empty: it is not known
	// Issuer is the pin of the CA that has issued it, as in a join token; of a CA that is
	// not the cluster's, its name.
	Issuer   string
	Ends     time.Time // zero: it is not known
	Renewing bool      // the member was asked to renew it, and has not done so yet
}

// JoinTokenRequest is the request for a join token.
type JoinTokenRequest struct {
	Member string        // the only agent that may use it; empty: any
	Uses   int           // 1 to 1 000; 0: 1
	TTL    time.Duration // 1 s to 30 d; 0: 1 h
}

// JoinToken is the public half of a join token.
type JoinToken struct {
	ID        string // 16 hexadecimal digits
	Member    string // the only agent that may use it; empty: any
	MaxUses   int
	UsedBy    []string      // the agents that have used it, in order
	Remaining time.Duration // the answering agent's estimate
	ExpiresAt time.Time     // its wall clock plus that
	Revision  Revision      // at which it was created
	// Outdated is whether the cluster's CA was rotated since: no agent can join with it.
	Outdated bool
}
