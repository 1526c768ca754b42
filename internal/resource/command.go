package resource

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table: *Write, *Delete, *Clear or *Check. Each has
// its own file, with everything specific to it.
type command interface {
	state.Command
	// decode reads what Append wrote after the number.
	decode(d codec.Decoder) codec.Decoder
	// target is the key of the resource.
	target() string
	// check returns why the command cannot be applied, except for limits of the
	// whole table; nil: apply may follow.
	check(t *Table) *interrex.Error
	// weigh adds the changes of the command to a load.
	weigh(t *Table, l *load)
	// idle reports whether the command, which check has allowed, changes nothing.
	idle(t *Table) bool
	// apply executes a command that check has allowed; it cannot fail.
	apply(t *Table, turn *state.Turn) *Reply
}

// The first byte of an encoded command. A number is never reused.
const (
	opWrite byte = iota + 1
	opDelete
	opClear
	opCheck
)

// operations has the constructors of the commands, by number.
var operations = [...]func() command{
	opWrite:  func() command { return new(Write) },
	opDelete: func() command { return new(Delete) },
	opClear:  func() command { return new(Clear) },
	opCheck:  func() command { return new(Check) },
}

// Decode reads a command: a *Write, *Delete, *Clear or *Check. The error is of
// kind ErrInvalid or ErrTooLarge.
func (t *Table) Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode resource command: it is empty")
	}
	op := data[0]
	if !t.Knows(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode resource command: unknown operation %d", op)
	}
	c := operations[op]()
	if d := c.decode(codec.NewDecoder(string(data[1:]))); !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode resource command: operation %d is malformed", op)
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

// Check returns why a command that Decode returned cannot be applied now.
func (t *Table) Check(_ state.Time, c state.Command) error {
	own, err := t.allowed(c)
	if err != nil {
		return err
	}
	var l load
	own.weigh(t, &l)
	if refusal := t.fits(&l); refusal != nil {
		return refusal
	}
	return nil
}

// allowed is Check without the limits of the whole table.
func (t *Table) allowed(c state.Command) (command, error) {
	own, is := c.(command)
	if !is {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot check resource command: %T is not a resource command", c)
	}
	if refusal := own.check(t); refusal != nil {
		return nil, refusal
	}
	return own, nil
}

// CheckGroup is Check of commands that are applied together: no resource may appear
// twice, and the limits count all of them. Each is checked against the table as it
// is before the first.
func (t *Table) CheckGroup(_ state.Time, all []state.Command) error {
	var l load
	named, gone := map[string]bool{}, map[string]bool{}
	for _, c := range all {
		own, err := t.allowed(c)
		if err != nil {
			return err
		}
		if _, is := c.(*Clear); is && len(all) > 1 {
			return interrex.Errorf(interrex.ErrInvalid, "group: a delete by prefix cannot be grouped with other resources")
		}
		switch c := c.(type) {
		case *Delete:
			gone[c.target()] = true
		case *Write:
			if c.Owner != nil && gone[join(*c.Owner)] {
				return interrex.Errorf(interrex.ErrInvalid, "owner: %s is deleted earlier in this group", *c.Owner)
			}
		}
		if named[own.target()] {
			return interrex.Errorf(interrex.ErrInvalid, "group: %s appears twice: each resource may be written or deleted once", split(own.target()))
		}
		named[own.target()] = true
		own.weigh(t, &l)
	}
	if refusal := t.fits(&l); refusal != nil {
		return refusal
	}
	return nil
}

// Idle is part of state.Idler: a delete of a resource that does not exist changes
// nothing, and a Check never does.
func (t *Table) Idle(c state.Command) (state.Reply, bool) {
	if !c.(command).idle(t) {
		return nil, false
	}
	return &Reply{}, true
}

// Apply executes a command that Check has allowed, and returns a *Reply.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	return c.(command).apply(t, turn)
}
