package member

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// Admit admits an agent that has a join token: from then on a certificate may be
// issued for its ID and its key. It carries what was signed, so that nobody has to be
// believed.
type Admit struct {
	ID      string
	Token   string // the ID of the join token
	Key     string // the agent's public key, in PKIX DER
	Session string // the exporter value of the session in which it joined, 32 bytes
	Request string // the SHA-256 of its certificate request
	// Signature is the token's over session and request.
	Signature string
	// Former is the same statement signed with the key that was certified for this ID
	// before; empty: none.
	Former string
	// Incarnation is that of the agent's disk, as it says; empty: it is not known. The
	// member's, if it is another one, is lost, and gone from now on.
	Incarnation string
	// Forwards reports that the agent is to run without raft.
	Forwards bool
}

const (
	sumBytes     = 32
	maxSignature = 256
)

// About is part of state.Command.
func (c *Admit) About() state.About { return state.About{Name: "admit", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Admit) Validate() error {
	if err := validateID("id", c.ID); err != nil {
		return err
	}
	switch {
	case c.Token == "" || len(c.Token) > 64:
		return interrex.Errorf(interrex.ErrInvalid, "token: %q is not the ID of a join token", c.Token)
	case len(c.Session) != sumBytes || len(c.Request) != sumBytes:
		return interrex.Errorf(interrex.ErrInvalid, "session and request must have %d bytes", sumBytes)
	case len(c.Signature) != ed25519.SignatureSize:
		return interrex.Errorf(interrex.ErrInvalid, "signature: %d bytes: an Ed25519 signature has %d", len(c.Signature), ed25519.SignatureSize)
	case len(c.Incarnation) > 64:
		return interrex.Errorf(interrex.ErrTooLarge, "incarnation: %d bytes: at most 64 are allowed", len(c.Incarnation))
	case len(c.Former) > maxSignature:
		return interrex.Errorf(interrex.ErrTooLarge, "former: %d bytes: at most %d are allowed", len(c.Former), maxSignature)
	}
	return validateKey(c.Key)
}

func validateKey(key string) error {
	if len(key) > maxKey {
		return interrex.Errorf(interrex.ErrTooLarge, "key: %d bytes: at most %d are allowed", len(key), maxKey)
	}
	switch parsed, err := x509.ParsePKIXPublicKey([]byte(key)); parsed.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	default:
		return interrex.Errorf(interrex.ErrInvalid, "key: it is not an ECDSA or Ed25519 public key in PKIX DER: %T, %v", parsed, err)
	}
}

// Append encodes the command.
func (c *Admit) Append(b []byte) []byte {
	b = append(b, opAdmit)
	for _, s := range []string{c.ID, c.Token, c.Key, c.Session, c.Request, c.Signature, c.Former, c.Incarnation} {
		b = codec.AppendText(b, s)
	}
	if c.Forwards {
		b = codec.AppendBool(b, true)
	}
	return b
}

func (c *Admit) decode(d *decoder) {
	*c = Admit{ID: d.Text(), Token: d.Text(), Key: d.Text(), Session: d.Text(), Request: d.Text(), Signature: d.Text(), Former: d.Text(), Incarnation: d.Text()}
	if d.More() {
		if c.Forwards = d.Bool(); !c.Forwards {
			d.Fail() // it would not be there
		}
	}
}

// statement is what was signed.
func (c *Admit) statement() []byte {
	return jointoken.Statement(jointoken.Session([]byte(c.Session)), [sha256.Size]byte([]byte(c.Request)))
}

// Check returns why an agent is not admitted by the table as it is now, before
// anything is proposed.
func (c *Admit) Check(t *Table, now state.Time) error {
	if refusal := c.check(t.content.Load(), now); refusal != nil {
		return refusal
	}
	return nil
}

func (c *Admit) check(now *content, at state.Time) *interrex.Error {
	token := now.token(c.Token)
	if token == nil || token.Expires <= at {
		return tokenNotFound(c.Token)
	}
	if token.Created < now.since {
		return interrex.Errorf(interrex.ErrDenied, "join token %s ended when the cluster's CA was rotated: 'interrex join-token create' makes another", c.Token)
	}
	if !ed25519.Verify([]byte(token.Key), c.statement(), []byte(c.Signature)) {
		return interrex.Errorf(interrex.ErrDenied, "join token %s: the signature is not valid for this session and request", c.Token)
	}
	if token.For != "" && token.For != c.ID {
		return interrex.Errorf(interrex.ErrDenied, "join token %s is only for agent %s, not for %s", c.Token, token.For, c.ID)
	}
	if !slices.Contains(token.Uses, useOf(c.ID, c.Key)) && token.Left() == 0 {
		return interrex.Errorf(interrex.ErrDenied, "join token %s was used %s, as often as it may be: 'interrex join-token create' makes another", c.Token, wording.Count(len(token.Uses), "time"))
	}
	return c.checkMember(now, token)
}

// checkMember returns why the agent may not have the ID.
func (c *Admit) checkMember(now *content, token *JoinToken) *interrex.Error {
	known := now.member(c.ID)
	switch {
	case known == nil && len(now.members) >= MaxMembers:
		return tooMany(now)
	case known != nil && c.Forwards && known.Incarnation != "":
		return interrex.Errorf(interrex.ErrConflict, "agent %s is a member with a log, and an agent without raft has none: remove it first, with 'interrex member remove %s', or give this one another ID", c.ID, c.ID)
	case known == nil || known.Key == c.Key || token.For == c.ID || c.formerFits(known):
		return nil
	}
	return interrex.Errorf(interrex.ErrConflict, "there is a member %s with another key: give this agent another ID or, if it is to replace that one, a token made for it: 'interrex join-token create --for %s'", c.ID, c.ID)
}

// formerFits reports whether the agent has the key that was certified before.
func (c *Admit) formerFits(known *Member) bool {
	key, err := x509.ParsePKIXPublicKey([]byte(known.Key))
	if err != nil {
		return false
	}
	return signed(key, c.statement(), c.Former)
}

// Replaces reports whether the agent has lost the disk that the member has: it is let
// in with another one, once the former is out of raft's configuration.
func (c *Admit) Replaces(known *Member) bool {
	return known != nil && known.Incarnation != "" && c.Incarnation != "" && known.Incarnation != c.Incarnation
}

func (c *Admit) apply(t *Table, turn *state.Turn) *Reply {
	token, known := *t.JoinToken(c.Token), t.Member(c.ID)
	if use := useOf(c.ID, c.Key); !slices.Contains(token.Uses, use) {
		token.Uses = append(slices.Clone(token.Uses), use)
	}
	next, kind := &Member{ID: c.ID, Added: turn.Wall}, interrex.MemberAdded
	if known != nil {
		copied := *known
		next, kind = &copied, interrex.MemberChanged
	}
	next.Key, next.Forwards, next.Revision = c.Key, c.Forwards, turn.Revision
	t.change(func(now *content) {
		if c.Replaces(known) {
			now.bury(known, turn.Revision)
			next.Incarnation = ""
		}
		now.putToken(&token)
		now.put(next)
	})
	emit(turn, kind, next)
	return &Reply{Member: next}
}
