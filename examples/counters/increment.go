package counters

import (
	"cmp"
	"encoding/binary"
	"math"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Increment adds to a counter, which starts from 0 if it does not exist. It
// does not change when the counter ends.
type Increment struct {
	Key   interrex.Key
	By    uint64 // at least 1
	Limit uint64 // a greater result is ErrConflict; 0: no limit
}

// About is part of state.Command.
func (c *Increment) About() state.About { return state.About{Name: "increment", Key: c.Key} }

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Increment) Validate() error {
	if c.By == 0 {
		return interrex.Errorf(interrex.ErrInvalid, "by: 0 is not valid: give at least 1")
	}
	return nil
}

// Append encodes the command.
func (c *Increment) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(appendKey(append(b, opIncrement), c.Key), c.By)
	return binary.BigEndian.AppendUint64(b, c.Limit)
}

func (c *Increment) decode(d *decoder) {
	*c = Increment{Key: d.key(), By: d.number(), Limit: d.number()}
}

func (c *Increment) check(was Record) error {
	limit := cmp.Or(c.Limit, math.MaxUint64)
	if was.Value > limit || c.By > limit-was.Value {
		return interrex.Errorf(interrex.ErrConflict, "cannot increment %s by %d: it is %d, and its limit is %d", c.Key, c.By, was.Value, limit)
	}
	return nil
}

func (c *Increment) apply(was Record, _ state.Time) (Record, string) {
	was.Value += c.By
	return was, CounterIncremented
}
