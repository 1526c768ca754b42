package member

import (
	"cmp"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// RotateCA asks for another CA, or, while one is on its way, leaves further members
// out.
type RotateCA struct {
	// Without are the members that are not waited for, by ID and in order.
	Without []string
}

// About is part of state.Command.
func (c *RotateCA) About() state.About { return state.About{Name: "rotate_ca", Privileged: true} }

// Validate reports which field is not allowed.
func (c *RotateCA) Validate() error {
	if len(c.Without) > MaxMembers {
		return interrex.Errorf(interrex.ErrTooLarge, "without: %d members: at most %d are allowed", len(c.Without), MaxMembers)
	}
	last := ""
	for _, id := range c.Without {
		if err := validateID("without", id); err != nil {
			return err
		}
		if id <= last {
			return interrex.Errorf(interrex.ErrInvalid, "without: %q is there twice, or out of order", id)
		}
		last = id
	}
	return nil
}

// Append encodes the command.
func (c *RotateCA) Append(b []byte) []byte {
	return codec.AppendTexts(append(b, opRotateCA), c.Without)
}

func (c *RotateCA) decode(d *decoder) { c.Without = d.texts(MaxMembers) }

func (c *RotateCA) check(now *content, _ state.Time) *interrex.Error {
	return now.checkRotatable(c.Without)
}

func (c *RotateCA) apply(t *Table, turn *state.Turn) *Reply {
	t.rotate(func(now *content, r *Rotation) *Rotation {
		if r.Phase == 0 {
			r.Began, r.Phase = turn.Revision, Asked
		}
		r.Without = slices.Concat(r.Without, c.Without)
		slices.Sort(r.Without)
		r.Without = slices.DeleteFunc(slices.Compact(r.Without), func(id string) bool { return now.member(id) == nil }) // so they are at most MaxMembers
		return r
	})
	return &Reply{}
}

// Step says for which step of a rotation a command is: it is refused in any other.
type Step struct {
	Phase Phase
	// CA is the pin, as bytes, of the next CA; before there is one, and once it is the
	// cluster's, that of the cluster's.
	CA string
}

// Step returns the step that the rotation is at; false: none is under way.
func (t *Table) Step() (Step, bool) { return t.content.Load().step() }

func (c *content) step() (Step, bool) {
	if c.rotation == nil {
		return Step{}, false
	}
	return Step{c.rotation.Phase, pinOf(cmp.Or(c.rotation.Next, c.ca))}, true
}

func (s Step) validate(first Phase) error {
	if s.Phase < first || s.Phase > Dropping || len(s.CA) != sumBytes {
		return interrex.Errorf(interrex.ErrInvalid, "phase, ca: %d is not a phase, or the pin has not %d bytes", s.Phase, sumBytes)
	}
	return nil
}

func (s Step) append(b []byte) []byte { return codec.AppendText(append(b, byte(s.Phase)), s.CA) }

// OfferCA names the CA that is to follow. Only the leader, which has made it, proposes
// it: when it was asked to, and again when no voter has the key.
type OfferCA struct {
	Step
	Cert string // of the next CA, in DER
}

// About is part of state.Command.
func (c *OfferCA) About() state.About { return state.About{Name: "offer_ca", Privileged: true} }

// Validate reports which field is not allowed.
func (c *OfferCA) Validate() error {
	if err := c.Step.validate(Asked); err != nil {
		return err
	}
	return (&SetCA{Cert: c.Cert}).Validate()
}

// Append encodes the command.
func (c *OfferCA) Append(b []byte) []byte {
	return codec.AppendText(c.Step.append(append(b, opOfferCA)), c.Cert)
}

func (c *OfferCA) decode(d *decoder) {
	*c = OfferCA{Step: d.step(), Cert: d.Text()}
}

func (c *OfferCA) check(now *content, _ state.Time) *interrex.Error {
	switch refusal := now.underWay(c.Step); {
	case refusal != nil:
		return refusal
	case c.Phase == Dropping:
		return interrex.Errorf(interrex.ErrConflict, "every member has a certificate of the next CA already")
	case slices.Contains(now.trusted(), c.Cert) || slices.Contains(now.gone, pinOf(c.Cert)):
		return interrex.Errorf(interrex.ErrConflict, "this CA is, or was, the cluster's")
	case len(now.rotation.Former) >= maxFormer:
		return interrex.Errorf(interrex.ErrConflict, "the CA was replaced %d times in this rotation, which is the limit: start the members that hold it up, or leave them out", maxFormer)
	}
	return nil
}

func (c *OfferCA) apply(t *Table, _ *state.Turn) *Reply {
	t.rotate(func(now *content, r *Rotation) *Rotation {
		if r.Next != "" {
			now.forget(r.Next)
		}
		r.Phase, r.Next = Trusting, c.Cert
		return r
	})
	return &Reply{}
}

// AdvanceCA says that a phase of the rotation is complete. Only the leader proposes it.
type AdvanceCA struct {
	Step
}

// About is part of state.Command.
func (c *AdvanceCA) About() state.About { return state.About{Name: "advance_ca", Privileged: true} }

// Validate reports which field is not allowed.
func (c *AdvanceCA) Validate() error { return c.Step.validate(Trusting) }

// Append encodes the command.
func (c *AdvanceCA) Append(b []byte) []byte {
	return c.Step.append(append(b, opAdvanceCA))
}

func (c *AdvanceCA) decode(d *decoder) {
	*c = AdvanceCA{d.step()}
}

func (c *AdvanceCA) check(now *content, _ state.Time) *interrex.Error {
	return now.underWay(c.Step)
}

func (c *AdvanceCA) apply(t *Table, turn *state.Turn) *Reply {
	t.rotate(func(now *content, r *Rotation) *Rotation {
		switch r.Phase {
		case Handing:
			r.Former = append(slices.Clone(r.Former), now.ca)
			now.ca, r.Next, now.since = r.Next, "", turn.Revision
		case Renewing:
			now.forget(r.Former...)
		case Dropping:
			return nil
		}
		r.Phase++
		return r
	})
	return &Reply{}
}
