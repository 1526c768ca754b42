package counters

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Set sets a counter's value and time to live unconditionally.
type Set struct {
	Key   interrex.Key
	Value uint64
	TTL   time.Duration // 200 ms to 24 h of cluster time; 0: it does not end
}

// About is part of state.Command.
func (c *Set) About() state.About { return state.About{Name: "set", Key: c.Key} }

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Set) Validate() error {
	if c.TTL == 0 {
		return nil
	}
	return interrex.ValidateTTL(c.TTL)
}

// Append encodes the command.
func (c *Set) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(appendKey(append(b, opSet), c.Key), c.Value)
	return binary.BigEndian.AppendUint64(b, uint64(c.TTL))
}

func (c *Set) decode(d *decoder) {
	*c = Set{Key: d.key(), Value: d.number(), TTL: time.Duration(d.number())}
}

func (c *Set) check(Record) error { return nil }

func (c *Set) apply(was Record, now state.Time) (Record, string) {
	is := Record{Key: was.Key, Value: c.Value}
	if c.TTL > 0 {
		is.Expiry = now.Add(c.TTL)
	}
	return is, CounterSet
}
