package webhook

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table: *Set, *Delete or *Advance. Each has its own
// file, with everything specific to it.
type command interface {
	state.Command
	// decode reads what Append wrote after the number.
	decode(d *decoder)
	// check returns why the command cannot be applied; nil: apply may follow.
	check(t *Table) *interrex.Error
	// apply executes a command that check has allowed; it cannot fail.
	apply(t *Table, turn *state.Turn) *Reply
}

// The first byte of an encoded command. A number is never reused.
const (
	opSet byte = iota + 1
	opDelete
	opAdvance
)

// operations has the constructors of the commands, by number.
var operations = [...]func() command{
	opSet:     func() command { return new(Set) },
	opDelete:  func() command { return new(Delete) },
	opAdvance: func() command { return new(Advance) },
}

// Decode reads a command: a *Set, *Delete or *Advance. The error is of kind
// ErrInvalid or ErrTooLarge.
func (t *Table) Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode webhook command: it is empty")
	}
	op := data[0]
	if !t.Knows(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode webhook command: unknown operation %d", op)
	}
	c, d := operations[op](), newDecoder(string(data[1:])) // a copy: hooks are stored
	if c.decode(d); !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode webhook command: operation %d is malformed", op)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Knows implements state.Knower.
func (t *Table) Knows(data []byte) bool {
	return len(data) > 0 && int(data[0]) < len(operations) && operations[data[0]] != nil
}

// Check returns why a command that Decode returned cannot be applied.
func (t *Table) Check(_ state.Time, c state.Command) error {
	own, is := c.(command)
	if !is {
		return interrex.Errorf(interrex.ErrInvalid, "cannot check webhook command: %T is not a webhook command", c)
	}
	if refusal := own.check(t); refusal != nil {
		return refusal
	}
	return nil
}

// Apply executes a command that Check has allowed, and returns a *Reply.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	return c.(command).apply(t, turn)
}

// CheckGroup returns why commands of one group cannot be applied, each after those
// before it. It implements state.Grouper.
func (t *Table) CheckGroup(now state.Time, all []state.Command) error {
	after := New()
	after.hooks.Store(t.hooks.Load())
	const unheard = interrex.Revision(1) << 62 // no command knows the revision of one before it
	for _, c := range all {
		if err := after.Check(now, c); err != nil {
			return err
		}
		c.(command).apply(after, &state.Turn{Revision: unheard})
	}
	return nil
}
