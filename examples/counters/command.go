package counters

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table: it makes a new counter from the old one.
// Each has its own file, with everything that only it needs.
type command interface {
	state.Command
	// decode reads what Append wrote after the number.
	decode(d *decoder)
	// check returns why it cannot be applied to a counter, as an *interrex.Error.
	check(was Record) error
	// apply applies what check has allowed, at now, and returns what happened.
	apply(was Record, now state.Time) (is Record, kind string)
}

// The first byte of an encoded command. A number is never used again.
const (
	opIncrement byte = iota + 1
	opSet
)

// operations are the constructors of the commands, by number.
var operations = map[byte]func() command{
	opIncrement: func() command { return new(Increment) },
	opSet:       func() command { return new(Set) },
}

// Decode reads a command, and validates it.
func (t *table) Decode(data []byte) (state.Command, error) {
	d := decoder{rest: data}
	operation := operations[d.byte()]
	if operation == nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode command of counters: the operation is unknown")
	}
	c := operation()
	if c.decode(&d); !d.done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode command of counters: it is malformed")
	}
	if err := c.About().Key.Validate(); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// Knows is part of state.Knower: an agent halts at a command of a later release.
func (t *table) Knows(data []byte) bool { return len(data) > 0 && operations[data[0]] != nil }

// Check returns why a command that Decode returned cannot be applied at now.
func (t *table) Check(now state.Time, c state.Command) error {
	k := c.About().Key
	if _, there := t.counters.Get(k.String()); !there && t.counters.Len() >= MaxCounters {
		return interrex.Errorf(interrex.ErrConflict, "cannot make counter %s: there are already %d, the maximum", k, MaxCounters)
	}
	return c.(command).check(t.at(k, now))
}

// Apply applies what Check has allowed, and returns a Record. A counter that is
// due ends first, as a separate change.
func (t *table) Apply(turn *state.Turn, c state.Command) state.Reply {
	k := c.About().Key
	if t.endIfDue(turn, k) {
		turn.Next()
	}
	r, kind := c.(command).apply(t.at(k, turn.Now), turn.Now)
	t.put(r)
	r.emit(turn, kind)
	return r
}
