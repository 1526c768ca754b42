package member

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// CreateJoinToken creates a join token. Its secret half never leaves the one who made it.
type CreateJoinToken struct {
	Key  string        // the Ed25519 public key
	For  string        // the only agent that may use it; empty: any
	Uses uint64        // how often it may be used
	TTL  time.Duration // of cluster time
}

// About is part of state.Command.
func (c *CreateJoinToken) About() state.About {
	return state.About{Name: "create_join_token", Privileged: true}
}

// Validate reports which field is not allowed.
func (c *CreateJoinToken) Validate() error {
	switch {
	case len(c.Key) != tokenKey:
		return interrex.Errorf(interrex.ErrInvalid, "public_key: %d bytes: an Ed25519 public key has %d", len(c.Key), tokenKey)
	case c.Uses < 1 || c.Uses > limits.MaxJoinUses:
		return interrex.Errorf(interrex.ErrInvalid, "uses: %d is not valid: give 1 to %d", c.Uses, limits.MaxJoinUses)
	case c.TTL < limits.MinJoinTTL || c.TTL > limits.MaxJoinTTL:
		return interrex.Errorf(interrex.ErrInvalid, "ttl: %s is not valid: give %s to %s",
			wording.Rounded(c.TTL), wording.Rounded(limits.MinJoinTTL), wording.Rounded(limits.MaxJoinTTL))
	case c.For == "":
		return nil
	}
	return validateID("member", c.For)
}

// Append encodes the command.
func (c *CreateJoinToken) Append(b []byte) []byte {
	b = codec.AppendText(codec.AppendText(append(b, opCreateJoinToken), c.Key), c.For)
	return binary.AppendUvarint(binary.AppendUvarint(b, c.Uses), uint64(c.TTL))
}

func (c *CreateJoinToken) decode(d *decoder) {
	*c = CreateJoinToken{Key: d.Text(), For: d.Text(), Uses: d.Uvarint(), TTL: d.Duration()}
}

// ID returns the ID of the token that it creates.
func (c *CreateJoinToken) ID() string { return jointoken.IDOf([]byte(c.Key)) }

func (c *CreateJoinToken) check(now *content, _ state.Time) *interrex.Error {
	if now.ca == "" {
		return interrex.Errorf(interrex.ErrDisabled, "this cluster has no CA of its own: its agents' certificates come from elsewhere, and an agent that has one needs no join token")
	}
	if now.token(c.ID()) != nil {
		return interrex.Errorf(interrex.ErrConflict, "join token %s exists already", c.ID())
	}
	if n := len(now.tokens); n >= MaxJoinTokens {
		return interrex.Errorf(interrex.ErrConflict, "there are %d join tokens, which is the limit: revoke one first, or wait until one ends", n)
	}
	return nil
}

func (c *CreateJoinToken) apply(t *Table, turn *state.Turn) *Reply {
	token := &JoinToken{ID: c.ID(), Key: c.Key, For: c.For, MaxUses: c.Uses, Expires: turn.Now.Add(c.TTL), Created: turn.Revision}
	t.change(func(next *content) { next.putToken(token) })
	return &Reply{Token: token}
}

// RevokeJoinToken ends a join token.
type RevokeJoinToken struct{ ID string }

// About is part of state.Command.
func (c *RevokeJoinToken) About() state.About {
	return state.About{Name: "revoke_join_token", Privileged: true}
}

// Validate reports which field is not allowed.
func (c *RevokeJoinToken) Validate() error {
	if c.ID == "" || len(c.ID) > 64 {
		return interrex.Errorf(interrex.ErrInvalid, "id: %q is not the ID of a join token: 'interrex join-token list' shows them", c.ID)
	}
	return nil
}

// Append encodes the command.
func (c *RevokeJoinToken) Append(b []byte) []byte {
	return codec.AppendText(append(b, opRevokeJoinToken), c.ID)
}

func (c *RevokeJoinToken) decode(d *decoder) { c.ID = d.Text() }

func (c *RevokeJoinToken) check(now *content, _ state.Time) *interrex.Error {
	if now.token(c.ID) == nil {
		return tokenNotFound(c.ID)
	}
	return nil
}

func tokenNotFound(id string) *interrex.Error {
	return interrex.Errorf(interrex.ErrNotFound, "join token %q does not exist: it has ended, was revoked, or belongs to another cluster", id)
}

func (c *RevokeJoinToken) apply(t *Table, _ *state.Turn) *Reply {
	reply := &Reply{Token: t.JoinToken(c.ID)}
	t.change(func(next *content) { next.dropToken(c.ID) })
	return reply
}
