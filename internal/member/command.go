package member

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table. Each has its own file, with everything
// specific to it.
type command interface {
	state.Command
	// decode reads what Append wrote after the number.
	decode(d *decoder)
	// check returns why the command cannot be applied; nil: apply may follow.
	check(c *content, now state.Time) *interrex.Error
	// apply executes a command that check has allowed; it cannot fail.
	apply(t *Table, turn *state.Turn) *Reply
}

// The first byte of an encoded command. A number is never reused.
const (
	opSetCA byte = iota + 1
	opCreateJoinToken
	opRevokeJoinToken
	opAdmit
	opSee
	opSetVoter
	opRemove
	opRecertify
	opRenew
	opAdd
	opRotateCA
	opOfferCA
	opAdvanceCA
)

// operations has the constructors of the commands, by number.
var operations = [...]func() command{
	opSetCA:           func() command { return new(SetCA) },
	opCreateJoinToken: func() command { return new(CreateJoinToken) },
	opRevokeJoinToken: func() command { return new(RevokeJoinToken) },
	opAdmit:           func() command { return new(Admit) },
	opSee:             func() command { return new(See) },
	opSetVoter:        func() command { return new(SetVoter) },
	opRemove:          func() command { return new(Remove) },
	opRecertify:       func() command { return new(Recertify) },
	opRenew:           func() command { return new(Renew) },
	opAdd:             func() command { return new(Add) },
	opRotateCA:        func() command { return new(RotateCA) },
	opOfferCA:         func() command { return new(OfferCA) },
	opAdvanceCA:       func() command { return new(AdvanceCA) },
}

// Decode reads a command. The error is of kind ErrInvalid or ErrTooLarge.
func (t *Table) Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode member command: it is empty")
	}
	op := data[0]
	if !t.Knows(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode member command: unknown operation %d", op)
	}
	c, d := operations[op](), newDecoder(string(data[1:])) // a copy: parts of it are stored
	if c.decode(d); !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode member command: operation %d is malformed", op)
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
func (t *Table) Check(now state.Time, c state.Command) error {
	own, is := c.(command)
	if !is {
		return interrex.Errorf(interrex.ErrInvalid, "cannot check member command: %T is not a member command", c)
	}
	if refusal := own.check(t.content.Load(), now); refusal != nil {
		return refusal
	}
	return nil
}

// Idle implements state.Idler: an agent that is added again is a member already, and a
// rotation that is under way is asked for already.
func (t *Table) Idle(c state.Command) (state.Reply, bool) {
	switch c := c.(type) {
	case *Add:
		known := t.Member(c.ID)
		return &Reply{Member: known}, known != nil
	case *RotateCA:
		return &Reply{}, t.leavesOut(c.Without)
	}
	return nil, false
}

// Apply executes a command that Check has allowed, and returns a *Reply.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	return c.(command).apply(t, turn)
}

// CheckGroup returns why commands of one group cannot be applied, each after those
// before it. It implements state.Grouper.
func (t *Table) CheckGroup(now state.Time, all []state.Command) error {
	after := New()
	after.content.Store(t.content.Load())
	for _, c := range all {
		if err := after.Check(now, c); err != nil {
			return err
		}
		if _, idle := after.Idle(c); !idle {
			c.(command).apply(after, &state.Turn{Now: now})
		}
	}
	return nil
}

// Due returns when the next join token ends.
func (t *Table) Due() (state.Time, bool) {
	var due state.Time
	tokens := t.JoinTokens()
	for i, token := range tokens {
		if i == 0 || token.Expires < due {
			due = token.Expires
		}
	}
	return due, len(tokens) > 0
}

// Tick removes at most limit join tokens that have ended.
func (t *Table) Tick(turn *state.Turn, limit int) int {
	n := 0
	for _, token := range t.JoinTokens() {
		if n < limit && token.Expires <= turn.Now {
			turn.Next()
			t.change(func(c *content) { c.dropToken(token.ID) })
			n++
		}
	}
	return n
}
