package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table: *Claim, *Extend, *Revoke, *Transfer,
// *Pin or *Unpin. Each has its own file, with everything specific to it.
type command interface {
	state.Command
	// decode reads what Append wrote after the number, and returns the codec.Decoder
	// after that. The codec.Decoder is passed by value: a pointer passed to an
	// interface's method would be allocated for each command.
	decode(d codec.Decoder) codec.Decoder
	// check returns why the command cannot be done at now; nil: apply may
	// follow.
	check(t *Table, now state.Time) *interrex.Error
	// apply executes a command that check has allowed; it cannot fail.
	apply(t *Table, turn *state.Turn) *Reply
}

// The first byte of an encoded command. A number is never reused.
const (
	opClaim byte = iota + 1
	opExtend
	opRevoke
	opTransfer
	opPin
	opUnpin
)

// operations has the constructors of the commands, by number.
var operations = [...]func() command{
	opClaim:    func() command { return new(Claim) },
	opExtend:   func() command { return new(Extend) },
	opRevoke:   func() command { return new(Revoke) },
	opTransfer: func() command { return new(Transfer) },
	opPin:      func() command { return new(Pin) },
	opUnpin:    func() command { return new(Unpin) },
}

// Decode reads a command: a *Claim, *Extend, *Revoke, *Transfer, *Pin or
// *Unpin. The error is of kind ErrInvalid or ErrTooLarge.
func (t *Table) Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode lease command: it is empty")
	}
	op := data[0]
	if !t.Knows(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode lease command: unknown operation %d", op)
	}
	c := operations[op]()
	if d := c.decode(codec.NewDecoder(string(data[1:]))); !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode lease command: operation %d is malformed", op)
	}
	if err := validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Knows implements state.Knower.
func (t *Table) Knows(data []byte) bool {
	return len(data) > 0 && int(data[0]) < len(operations) && operations[data[0]] != nil
}

// Check returns why a command that Decode returned cannot be applied at now.
func (t *Table) Check(now state.Time, c state.Command) error {
	if err := t.checkAlone(now, c); err != nil {
		return err
	}
	if refusal := t.used.Fits([]capacity.Change{t.change(c)}, t.limits); refusal != nil {
		return refusal
	}
	return nil
}

// checkAlone is Check without the limits of the table.
func (t *Table) checkAlone(now state.Time, c state.Command) error {
	own, is := c.(command)
	if !is {
		return interrex.Errorf(interrex.ErrInvalid, "cannot check lease command: %T is not a lease command", c)
	}
	if refusal := own.check(t, now); refusal != nil {
		return refusal
	}
	return nil
}

// Apply executes a command that Check has allowed, and returns a *Reply. If that
// also ends a lease (a claim ends one that is due, an unpin one that is overdue),
// the ending has its own revision; afterwards the turn is at the last revision.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	t.history.forget(turn.Now)
	return c.(command).apply(t, turn)
}

// validate is Validate and also checks the key.
func validate(c state.Command) error {
	if err := c.About().Key.Validate(); err != nil {
		return err
	}
	return c.Validate()
}
