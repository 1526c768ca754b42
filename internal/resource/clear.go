package resource

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// MaxCleared is the maximum number of resources that one Clear removes.
const MaxCleared = 1000

// Clear removes the resources of a type and a tenancy whose names have a prefix:
// all of them, or none if they are more than MaxCleared. Each has its own revision.
type Clear struct {
	Selection interrex.ResourceSelection // no wildcards; no group version
}

// About is part of state.Command.
func (c *Clear) About() state.About { return state.About{Name: "clear"} }

// Announce is part of state.Announcer.
func (c *Clear) Announce() state.Announcement {
	s := c.Selection
	first := interrex.ResourceID{Type: s.Type, Tenancy: s.Tenancy, Name: s.NamePrefix}
	return state.Announcement{Kinds: []string{interrex.ResourceDeleted}, Key: first.String(), Prefix: true}
}

// Validate returns an error if a field is not valid, independent of the table's
// content.
func (c *Clear) Validate() error {
	if t := c.Selection.Tenancy; t.Partition == interrex.Wildcard || t.Namespace == interrex.Wildcard {
		return interrex.Errorf(interrex.ErrInvalid, "tenancy: a delete by prefix needs one partition and one namespace")
	}
	if len(c.Selection.NamePrefix) > limits.MaxName {
		return interrex.Errorf(interrex.ErrInvalid, "name_prefix: at most %d bytes are allowed, not %d", limits.MaxName, len(c.Selection.NamePrefix))
	}
	return c.Selection.Validate()
}

// Append encodes the command.
func (c *Clear) Append(b []byte) []byte {
	s := c.Selection
	b = append(b, opClear)
	for _, text := range []string{s.Type.Group, s.Type.Kind, s.Tenancy.Partition, s.Tenancy.Namespace, s.NamePrefix} {
		b = codec.AppendText(b, text)
	}
	return b
}

func (c *Clear) decode(d codec.Decoder) codec.Decoder {
	s := &c.Selection
	for _, text := range []*string{&s.Type.Group, &s.Type.Kind, &s.Tenancy.Partition, &s.Tenancy.Namespace, &s.NamePrefix} {
		*text = d.Text()
	}
	return d
}

// target is part of command: it is not the key of a resource.
func (c *Clear) target() string { return "" }

// meant returns the resources to remove, and whether they are too many.
func (c *Clear) meant(t *Table) (records []*Record, more bool) {
	return ReadView{t}.List(c.Selection, "", MaxCleared)
}

func (c *Clear) check(t *Table) *interrex.Error {
	if _, more := c.meant(t); more {
		return interrex.Errorf(interrex.ErrTooLarge, "name_prefix: more than %d resources begin with %q, the limit of one delete: give a longer prefix", MaxCleared, c.Selection.NamePrefix)
	}
	return nil
}

func (c *Clear) weigh(t *Table, l *load) {
	records, _ := c.meant(t)
	for _, r := range records {
		l.replace(r, nil)
	}
}

func (c *Clear) idle(t *Table) bool {
	records, _ := c.meant(t)
	return len(records) == 0
}

func (c *Clear) apply(t *Table, turn *state.Turn) *Reply {
	records, _ := c.meant(t)
	for i, r := range records {
		if i > 0 {
			turn.Next()
		}
		t.end(turn, r)
	}
	return &Reply{Cleared: len(records)}
}
