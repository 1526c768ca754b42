package resource

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Absent is the version of what must not exist.
const Absent = "0"

// Check is a condition of the group that contains it. It changes nothing.
type Check struct {
	ID interrex.ResourceID // an empty UID is any
	// Version must be the stored one. Absent: the resource must not exist; empty:
	// it must exist, in any version.
	Version string
}

// About is part of state.Command.
func (c *Check) About() state.About { return state.About{Name: "check"} }

// Validate returns an error if a field is not valid, independent of the table's
// content.
func (c *Check) Validate() error {
	if err := c.ID.Validate(); err != nil {
		return err
	}
	return validateVersion(c.Version)
}

// Append encodes the command.
func (c *Check) Append(b []byte) []byte {
	return codec.AppendText(appendID(append(b, opCheck), c.ID), c.Version)
}

func (c *Check) decode(d codec.Decoder) codec.Decoder {
	*c = Check{ID: readID(&d), Version: d.Text()}
	return d
}

func (c *Check) target() string { return join(c.ID) }

func (c *Check) check(t *Table) *interrex.Error {
	r := ReadView{t}.Get(c.ID)
	switch {
	case r == nil && c.Version == Absent, r != nil && (c.Version == "" || c.Version == r.Version()):
		return nil
	case r == nil:
		return interrex.Errorf(interrex.ErrCASFailure, "%s does not exist", c.ID)
	case c.Version == Absent:
		return interrex.Errorf(interrex.ErrCASFailure, "%s exists in version %s", c.ID, r.Version())
	}
	return interrex.Errorf(interrex.ErrCASFailure, "version %q of %s was given, but %s is stored: read it again", c.Version, c.ID, r.Version())
}

func (c *Check) weigh(*Table, *load) {}

func (c *Check) idle(*Table) bool { return true }

// apply is part of command: Idle has answered already.
func (c *Check) apply(*Table, *state.Turn) *Reply { return &Reply{} }
