package lease

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Extend moves the expiry to now + TTL, never to an earlier time.
type Extend struct {
	Key   interrex.Key
	Token interrex.Token
	TTL   time.Duration // 0: the lease's; an extend never changes that
}

// About is part of state.Command.
func (c *Extend) About() state.About {
	return state.About{Name: "extend", Key: c.Key, Extend: true}
}

// Shows is part of machine.Tokened.
func (c *Extend) Shows() (interrex.Key, interrex.Token) { return c.Key, c.Token }

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Extend) Validate() error {
	if err := validateToken(c.Token); err != nil {
		return err
	}
	return validateOwnTTL(c.TTL)
}

// Append encodes the command.
func (c *Extend) Append(b []byte) []byte {
	b = binary.AppendUvarint(codec.AppendKey(append(b, opExtend), c.Key), uint64(c.Token))
	return binary.AppendUvarint(b, uint64(c.TTL))
}

func (c *Extend) decode(d codec.Decoder) codec.Decoder {
	*c = Extend{Key: d.Key(), Token: interrex.Token(d.Uvarint()), TTL: d.Duration()}
	return d
}

func (c *Extend) check(t *Table, _ state.Time) *interrex.Error {
	return t.checkToken("extend", c.Key, c.Token)
}

func (c *Extend) apply(t *Table, turn *state.Turn) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	l = t.writable(l)
	left := max(l.expiry.Sub(turn.Now), 0)
	l.expiry = max(l.expiry, turn.Now.Add(ttlOr(c.TTL, l.ttl)))
	t.reschedule(l)
	return &Reply{Lease: l.record(), Extended: true, Left: left}
}

// validateOwnTTL also allows 0: the lease's ttl.
func validateOwnTTL(d time.Duration) error {
	if d == 0 {
		return nil
	}
	return interrex.ValidateTTL(d)
}

func ttlOr(asked, own time.Duration) time.Duration {
	if asked == 0 {
		return own
	}
	return asked
}
