package webhook

import (
	"encoding/base64"
	"io"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Set makes a hook, or replaces the one of its name. One without a Secret keeps
// that of the hook which it replaces, or gets the one that was minted.
type Set struct {
	Spec
	Secret Secret
}

// SecretPrefix begins the secrets that are made.
const SecretPrefix = "whsec_"

// secretBytes are the random bytes of a secret that is made.
const secretBytes = 32

// Mint makes a secret for a hook that is given none.
func (c *Set) Mint(random io.Reader) ([]byte, error) {
	if c.Secret != "" {
		return nil, nil
	}
	bits := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, bits); err != nil {
		return nil, interrex.Errorf(interrex.KindUnavailable, "cannot make a secret: %v", err)
	}
	return append([]byte(SecretPrefix), base64.RawURLEncoding.EncodeToString(bits)...), nil
}

// About is part of state.Command.
func (c *Set) About() state.About { return state.About{Name: "set", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Set) Validate() error {
	if err := c.Spec.Validate(); err != nil {
		return err
	}
	return validateSecret(c.Secret)
}

// Append encodes the command.
func (c *Set) Append(b []byte) []byte {
	return codec.AppendText(appendSpec(append(b, opSet), &c.Spec), string(c.Secret))
}

func (c *Set) decode(d *decoder) { *c = Set{Spec: d.spec(), Secret: Secret(d.Text())} }

func (c *Set) check(t *Table) *interrex.Error {
	if all := t.Hooks(); t.Get(c.Name) == nil && len(all) >= interrex.MaxWebhooks {
		return interrex.Errorf(interrex.KindConflict, "cannot set webhook %q: there are %d, which is the most: delete another first", c.Name, len(all))
	}
	return nil
}

func (c *Set) apply(t *Table, turn *state.Turn) *Reply {
	h := &Hook{Spec: c.Spec, Secret: c.Secret, Created: turn.Revision, Revision: turn.Revision}
	old := t.Get(c.Name)
	if old != nil {
		h.Created = old.Created
	}
	reply := &Reply{}
	switch {
	case h.Secret != "":
	case old != nil:
		h.Secret = old.Secret
	default:
		h.Secret = Secret(turn.Minted)
		reply.Secret = h.Secret
	}
	switch {
	case h.When == interrex.WebhookBefore:
	case old != nil && old.When == h.When:
		h.Position, h.SkippedFrom, h.SkippedTo, h.Skipped = old.Position, old.SkippedFrom, old.SkippedTo, old.Skipped
	default:
		h.Position = turn.Revision
	}
	t.put(h)
	reply.Hook = h.Plain()
	emit(turn, interrex.WebhookSet, h)
	return reply
}
