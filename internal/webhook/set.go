package webhook

import (
	"encoding/base64"
	"io"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// Set creates a hook, or replaces the one of its name. If Secret is empty the hook
// has the secret of the hook that it replaces, or else the minted one.
type Set struct {
	Spec
	Secret Secret
}

// SecretPrefix begins every generated secret.
const SecretPrefix = "whsec_"

// secretBytes is the number of random bytes of a generated secret.
const secretBytes = 32

// Mint generates a secret for a hook without one.
func (c *Set) Mint(random io.Reader) ([]byte, error) {
	if c.Secret != "" {
		return nil, nil
	}
	bits := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, bits); err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot generate a secret: %v", err)
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
	if all := t.Hooks(); t.Get(c.Name) == nil && len(all) >= limits.MaxWebhooks {
		return interrex.Errorf(interrex.ErrConflict, "cannot set webhook %q: there are %d, which is the limit: delete another first", c.Name, len(all))
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
