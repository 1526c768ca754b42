package member

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/state"
)

// Add admits an agent that has a certificate already.
type Add struct {
	ID      string
	Address string // at which the members find it, host:port
}

// About is part of state.Command.
func (c *Add) About() state.About { return state.About{Name: "add", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Add) Validate() error {
	if err := validateID("id", c.ID); err != nil {
		return err
	}
	if len(c.Address) > maxAddress {
		return interrex.Errorf(interrex.ErrTooLarge, "address: %d bytes: at most %d are allowed", len(c.Address), maxAddress)
	}
	if err := inbound.CheckAddress(c.Address); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "address: %q is not valid: %v", c.Address, err)
	}
	return nil
}

// Append encodes the command.
func (c *Add) Append(b []byte) []byte {
	return codec.AppendText(codec.AppendText(append(b, opAdd), c.ID), c.Address)
}

func (c *Add) decode(d *decoder) { *c = Add{ID: d.Text(), Address: d.Text()} }

func (c *Add) check(now *content, _ state.Time) *interrex.Error {
	known := now.member(c.ID)
	switch {
	case known == nil && len(now.members) >= MaxMembers:
		return tooMany(now)
	case known == nil || known.ClusterAddress == c.Address:
		return nil
	}
	return interrex.Errorf(interrex.ErrConflict, "there is a member %s already, at %s: remove it first, or give this agent another ID", c.ID, orNowhere(known.ClusterAddress))
}

func orNowhere(address string) string {
	if address == "" {
		return "an address that is not known yet"
	}
	return address
}

func (c *Add) apply(t *Table, turn *state.Turn) *Reply {
	next := &Member{ID: c.ID, ClusterAddress: c.Address, Added: turn.Wall, Revision: turn.Revision}
	t.change(func(now *content) { now.put(next) })
	emit(turn, interrex.MemberAdded, next)
	return &Reply{Member: next}
}
