package counters

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table: it makes a new counter from the old.
// Each has a file of its own, with everything that only it has.
type command interface {
	state.Command
	// decode reads what Append wrote after the number.
	decode(d *decoder)
	// check returns why it cannot be done to a counter, as an *interrex.Error.
	check(was Record) error
	// apply does what check has allowed, at now, and returns what happened.
	apply(was Record, now state.Time) (is Record, kind string)
}

// The first byte of an encoded command. A number is never used again.
const (
	opIncrement byte = iota + 1
	opSet
)

// operations has the constructors of the commands, by number.
var operations = map[byte]func() command{
	opIncrement: func() command { return new(Increment) },
	opSet:       func() command { return new(Set) },
}

// Decode reads a command, and validates it.
func (t *table) Decode(data []byte) (state.Command, error) {
	d := decoder{rest: data}
	operation := operations[d.byte()]
	if operation == nil {
		return nil, interrex.Errorf(interrex.KindInvalid, "cannot decode command of counters: it is no operation known here")
	}
	c := operation()
	if c.decode(&d); !d.done() {
		return nil, interrex.Errorf(interrex.KindInvalid, "cannot decode command of counters: it is malformed")
	}
	if err := c.About().Key.Validate(); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// Check reports whether a command that Decode returned can be done at now.
func (t *table) Check(now state.Time, c state.Command) error {
	k := c.About().Key
	if _, there := t.counters.Get(k.String()); !there && t.counters.Len() >= MaxCounters {
		return interrex.Errorf(interrex.KindConflict, "cannot make counter %s: there are %d, which is the most", k, MaxCounters)
	}
	return c.(command).check(t.at(k, now))
}

// Apply does what Check has allowed, and returns a Record. A counter that is
// due ends first, which is a change of its own.
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
