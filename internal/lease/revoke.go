package lease

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Revoke ends the lease.
type Revoke struct {
	Key   interrex.Key
	Token interrex.Token // ignored with Force
	Force bool
}

// About is part of state.Command.
func (c *Revoke) About() state.About {
	return state.About{Name: "revoke", Key: c.Key, Spare: true, Privileged: c.Force}
}

// Announce is part of state.Announcer.
func (c *Revoke) Announce() state.Announcement {
	if c.Force {
		return state.Announcement{Kinds: []string{interrex.LeaseForced}, Key: c.Key.String()}
	}
	return state.Announcement{Kinds: []string{interrex.LeaseReleased}, Key: c.Key.String()}
}

// Shows is part of machine.Tokened: with Force no token is needed.
func (c *Revoke) Shows() (interrex.Key, interrex.Token) {
	if c.Force {
		return c.Key, 0
	}
	return c.Key, c.Token
}

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Revoke) Validate() error {
	if c.Force {
		return nil
	}
	return validateToken(c.Token)
}

// Append encodes the command.
func (c *Revoke) Append(b []byte) []byte {
	b = binary.AppendUvarint(codec.AppendKey(append(b, opRevoke), c.Key), uint64(c.Token))
	return codec.AppendBool(b, c.Force)
}

func (c *Revoke) decode(d codec.Decoder) codec.Decoder {
	*c = Revoke{Key: d.Key(), Token: interrex.Token(d.Uvarint()), Force: d.Bool()}
	return d
}

func (c *Revoke) check(t *Table, _ state.Time) *interrex.Error {
	if c.Force {
		return t.checkThere("revoke", c.Key)
	}
	return t.checkToken("revoke", c.Key, c.Token)
}

// frees is part of freeing.
func (c *Revoke) frees(t *Table, _ []state.Command, now state.Time) bool {
	return c.check(t, now) == nil
}

// weigh is part of weighing.
func (c *Revoke) weigh(t *Table, sum *capacity.Load) {
	if l, there := t.rows.Get(join(c.Key)); there {
		sum.Count--
		sum.Bytes -= l.weight()
	}
}

func (c *Revoke) apply(t *Table, turn *state.Turn) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	reply := &Reply{Lease: l.record(), Ended: true}
	how := interrex.EndReleased
	if c.Force {
		how = interrex.EndForced
		reply.HolderUntil = l.expiry
	}
	t.end(turn, l, how)
	return reply
}
