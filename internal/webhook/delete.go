package webhook

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Delete deletes a hook.
type Delete struct{ Name string }

// About is part of state.Command.
func (c *Delete) About() state.About { return state.About{Name: "delete", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Delete) Validate() error { return validateName(c.Name) }

// Append encodes the command.
func (c *Delete) Append(b []byte) []byte { return codec.AppendText(append(b, opDelete), c.Name) }

func (c *Delete) decode(d *decoder) { *c = Delete{Name: d.Text()} }

func (c *Delete) check(t *Table) *interrex.Error {
	if t.Get(c.Name) == nil {
		return notFound("delete", c.Name)
	}
	return nil
}

func (c *Delete) apply(t *Table, turn *state.Turn) *Reply {
	h := t.Get(c.Name)
	t.remove(c.Name)
	emit(turn, interrex.WebhookDeleted, h)
	return &Reply{Hook: h.Plain()}
}
