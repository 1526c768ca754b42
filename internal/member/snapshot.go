package member

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// view is the frozen content.
type view struct{ *content }

// Freeze returns a view of the current content.
func (t *Table) Freeze() state.View { return &view{t.content.Load()} }

// Release drops the content.
func (v *view) Release() { v.content = nil }

// Write writes the CA, the members and tokens by ID, the tombstones, and the CAs that
// were or are to be.
func (v *view) Write(w io.Writer) error {
	b := binary.AppendUvarint(codec.AppendText(nil, v.ca), uint64(len(v.members)))
	for _, m := range v.members {
		b = appendMember(b, m)
	}
	b = binary.AppendUvarint(b, uint64(len(v.tokens)))
	for _, t := range v.tokens {
		b = appendToken(b, t)
	}
	b = binary.AppendUvarint(b, uint64(len(v.removed)))
	for _, r := range v.removed {
		b = binary.AppendUvarint(codec.AppendText(codec.AppendText(b, r.ID), r.Incarnation), uint64(r.Revision))
	}
	if _, err := w.Write(appendRotation(b, v.content)); err != nil {
		return fmt.Errorf("cannot write members: %w", err)
	}
	return nil
}

// maxSnapshot is more than the bytes of everything.
const maxSnapshot = 512 << 20

// Restore replaces the table by what a View wrote. After an error the table is
// as it was.
func (t *Table) Restore(version uint16, r io.Reader) error {
	if version < oldest || version > t.Version() {
		return fmt.Errorf("cannot restore members: unknown version %d, this build reads versions %d to %d", version, oldest, t.Version())
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err != nil {
		return fmt.Errorf("cannot restore members: %w", err)
	}
	next, err := readContent(version, newDecoder(string(b)))
	if err != nil {
		return fmt.Errorf("cannot restore members: %w", err)
	}
	t.replace(next)
	return nil
}

// oldest is the first version of the snapshot that is read; it had no rotations.
const oldest = 1

func readContent(version uint16, d *decoder) (*content, error) {
	c := &content{ca: d.Text()}
	for n := d.count(MaxMembers); n > 0 && !d.Failed(); n-- {
		m := d.member()
		if last := len(c.members) - 1; last >= 0 && c.members[last].ID >= m.ID {
			return nil, fmt.Errorf("member %q is out of order", m.ID)
		}
		c.members = append(c.members, m)
	}
	for n := d.count(MaxJoinTokens); n > 0 && !d.Failed(); n-- {
		t := d.token()
		if last := len(c.tokens) - 1; last >= 0 && c.tokens[last].ID >= t.ID {
			return nil, fmt.Errorf("join token %q is out of order", t.ID)
		}
		c.tokens = append(c.tokens, t)
	}
	for n := d.count(maxTombstones); n > 0 && !d.Failed(); n-- {
		c.removed = append(c.removed, Tombstone{d.Text(), d.Text(), interrex.Revision(d.Uvarint())})
	}
	if version >= rotatable {
		d.rotation(c)
	}
	if !d.Done() {
		return nil, errors.New("an item is malformed")
	}
	return c, nil
}
