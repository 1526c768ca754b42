package webhook

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// Advance records the delivery positions of hooks, many at once. Only the leader
// proposes it. It publishes no event, because that would have to be delivered too.
type Advance struct{ Steps []Step }

// Step is the new position of one hook.
type Step struct {
	Name    string
	Created interrex.Revision // of the hook: another one of that name may have replaced it
	To      interrex.Revision // everything up to here is delivered or skipped
	// SkippedFrom to SkippedTo is the latest range that was skipped since the last
	// Step; 0 if there was none.
	SkippedFrom, SkippedTo interrex.Revision
	Skipped                uint64 // revisions since the last Step
}

// About is part of state.Command.
func (c *Advance) About() state.About {
	return state.About{Name: "advance", Privileged: true}
}

// Validate reports which field is not allowed.
func (c *Advance) Validate() error {
	if n := len(c.Steps); n == 0 || n > limits.MaxWebhooks {
		return interrex.Errorf(interrex.ErrInvalid, "steps: 1 to %d are allowed, not %d", limits.MaxWebhooks, n)
	}
	last := ""
	for _, s := range c.Steps {
		if err := validateName(s.Name); err != nil {
			return err
		}
		if s.Name <= last {
			return interrex.Errorf(interrex.ErrInvalid, "steps: %s appears twice, or out of order: sort steps by name", s.Name)
		}
		last = s.Name
	}
	return nil
}

// Append encodes the command.
func (c *Advance) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, opAdvance), uint64(len(c.Steps)))
	for _, s := range c.Steps {
		b = codec.AppendText(b, s.Name)
		for _, n := range []uint64{uint64(s.Created), uint64(s.To), uint64(s.SkippedFrom), uint64(s.SkippedTo), s.Skipped} {
			b = binary.AppendUvarint(b, n)
		}
	}
	return b
}

func (c *Advance) decode(d *decoder) {
	for n := d.count(limits.MaxWebhooks); n > 0; n-- {
		c.Steps = append(c.Steps, Step{
			Name: d.Text(), Created: d.revision(), To: d.revision(),
			SkippedFrom: d.revision(), SkippedTo: d.revision(), Skipped: d.Uvarint(),
		})
	}
}

// moves returns the hook that a step applies to; nil if there is none.
func (s Step) moves(t *Table) *Hook {
	h := t.Get(s.Name)
	if h == nil || h.Created != s.Created || h.When != interrex.WebhookAfter || s.To <= h.Position {
		return nil
	}
	return h
}

func (c *Advance) check(t *Table) *interrex.Error {
	for _, s := range c.Steps {
		if s.moves(t) != nil {
			return nil
		}
	}
	return interrex.Errorf(interrex.ErrConflict, "a webhook's position cannot be beyond the newest revision")
}

func (c *Advance) apply(t *Table, _ *state.Turn) *Reply {
	for _, s := range c.Steps {
		h := s.moves(t)
		if h == nil {
			continue
		}
		next := *h
		next.Position = s.To
		if s.Skipped > 0 {
			next.SkippedFrom, next.SkippedTo, next.Skipped = s.SkippedFrom, s.SkippedTo, next.Skipped+s.Skipped
		}
		t.put(&next)
	}
	return &Reply{}
}
