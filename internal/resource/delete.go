package resource

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Delete removes a resource. If it does not exist, or has another uid, nothing
// changes, and that is not an error.
type Delete struct {
	ID      interrex.ResourceID // an empty UID is any
	Version string              // empty: any
	// Strict deletes as a storage backend does: an empty UID differs from the stored
	// one, and so does an empty version.
	Strict bool
}

// About is part of state.Command.
func (c *Delete) About() state.About { return state.About{Name: "delete"} }

// Announce is part of state.Announcer.
func (c *Delete) Announce() state.Announcement {
	return state.Announcement{Kinds: []string{interrex.ResourceDeleted}, Key: c.ID.String()}
}

// Validate returns an error if a field is not valid, independent of the table's
// content.
func (c *Delete) Validate() error {
	if err := c.ID.Validate(); err != nil {
		return err
	}
	return validateVersion(c.Version)
}

// Append encodes the command.
func (c *Delete) Append(b []byte) []byte {
	b = codec.AppendText(appendID(append(b, opDelete), c.ID), c.Version)
	return codec.AppendBool(b, c.Strict)
}

func (c *Delete) decode(d codec.Decoder) codec.Decoder {
	*c = Delete{ID: readID(&d), Version: d.Text(), Strict: d.Bool()}
	return d
}

func (c *Delete) target() string { return join(c.ID) }

// meant returns the resource to delete; nil if there is none.
func (c *Delete) meant(t *Table) *Record {
	r := t.find(c.ID)
	if r == nil || c.ID.UID != r.ID.UID && (c.Strict || c.ID.UID != "") {
		return nil
	}
	return r
}

func (c *Delete) check(t *Table) *interrex.Error {
	r := c.meant(t)
	if r == nil || c.Version == r.Version() || c.Version == "" && !c.Strict {
		return nil
	}
	return interrex.Errorf(interrex.ErrCASFailure, "cannot delete %s: version %q was given, but %s is stored: read it again", c.ID, c.Version, r.Version())
}

func (c *Delete) weigh(t *Table, l *load) {
	l.replace(c.meant(t), nil)
}

func (c *Delete) idle(t *Table) bool { return c.meant(t) == nil }

func (c *Delete) apply(t *Table, turn *state.Turn) *Reply {
	if r := c.meant(t); r != nil {
		t.end(turn, r)
	}
	return &Reply{}
}
