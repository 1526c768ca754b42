package resource

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// The snapshot is two lists: the resources by key, and the deleted owners whose
// resources are still to be deleted.

// maxItem is more than the bytes of the largest resource.
const maxItem = 1 << 20

// view is the frozen content: the tree is copied node by node when the table
// writes to it, and rows never change.
type view struct {
	rows     *btree.Map[string, *Record]
	orphaned []string
}

// Freeze makes a view at a cost that does not depend on the number of
// resources.
func (t *Table) Freeze() state.View {
	return &view{rows: t.rows.Copy(), orphaned: t.orphaned.Keys()}
}

// Release drops the content.
func (v *view) Release() { v.rows, v.orphaned = nil, nil }

// Write writes the content; equal tables write equal bytes.
func (v *view) Write(w io.Writer) error {
	out := codec.NewItemWriter(w)
	out.Length(v.rows.Len())
	v.rows.Scan(func(_ string, r *Record) bool {
		return out.Item(appendRecord(out.Scratch[:0], r))
	})
	out.Length(len(v.orphaned))
	for _, start := range v.orphaned {
		out.Item(codec.AppendText(out.Scratch[:0], start))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cannot write resources: %w", err)
	}
	return nil
}

// Restore replaces the table by what a View wrote. After an error the table is
// as it was.
func (t *Table) Restore(version uint16, r io.Reader) error {
	in, err := t.read(version, r)
	if err != nil {
		return err
	}
	for _, r := range in.present {
		in.table.put(nil, r)
	}
	for _, start := range in.orphaned {
		if _, owns := in.table.firstOwned(start); !owns {
			return fmt.Errorf("cannot restore resources: the deleted owner %q owns nothing", start)
		}
		in.table.orphaned.Set(start, struct{}{})
	}
	t.assign(in.table)
	return nil
}

// Stage is part of machine.Replacer.
func (t *Table) Stage(version uint16, r io.Reader) (any, error) { return t.read(version, r) }

// Replace is part of machine.Replacer. A resource whose owner lease is not held now is not
// brought back; what it owns goes as if it had been deleted.
func (t *Table) Replace(_ *state.Turn, staged any, _ state.Time) {
	in := staged.(*restored)
	t.assign(in.table)
	for _, r := range in.present {
		if t.held(*r.OwnerLease) {
			t.put(nil, r)
		}
	}
	for _, r := range in.present {
		if !t.held(*r.OwnerLease) {
			t.orphan(r)
		}
	}
	for _, start := range in.orphaned {
		if _, owns := t.firstOwned(start); owns {
			t.orphaned.Set(start, struct{}{})
		}
	}
}

// assign makes the content of another table that of t.
func (t *Table) assign(o *Table) {
	t.rows, t.owned, t.presence, t.counts, t.used = o.rows, o.owned, o.presence, o.counts, o.used
	t.orphaned = o.orphaned
}

// restored is what was read of a view.
type restored struct {
	table    *Table
	present  []*Record // those with an owner lease, which are not in the table yet
	orphaned []string  // nor are these
	last     string    // the key that was read last
}

func (t *Table) read(version uint16, r io.Reader) (*restored, error) {
	if version != t.Version() {
		return nil, fmt.Errorf("cannot restore resources: unknown version %d, this build reads version %d", version, t.Version())
	}
	staged := &restored{table: New()}
	in := codec.NewItemReader(r, maxItem)
	err := in.List(staged.restore)
	if err == nil {
		err = in.List(staged.restoreOrphaned)
	}
	if err == nil {
		err = in.End()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot restore resources: %w", err)
	}
	return staged, nil
}

// restore appends one resource.
func (in *restored) restore(d *codec.Decoder) error {
	r, err := readRecord(d)
	if err != nil {
		return err
	}
	if in.last >= r.key {
		return fmt.Errorf("%s is out of order", r.ID)
	}
	in.last = r.key
	if r.OwnerLease != nil {
		in.present = append(in.present, r)
		return nil
	}
	in.table.rows.Load(r.key, r)
	in.table.note(r)
	return nil
}

// restoreOrphaned appends one deleted owner.
func (in *restored) restoreOrphaned(d *codec.Decoder) error {
	start := strings.Clone(d.Text())
	switch n := len(in.orphaned); {
	case !d.Done() || start == "":
		return errors.New("it is malformed")
	case n > 0 && in.orphaned[n-1] >= start:
		return fmt.Errorf("the owner %q is out of order", start)
	}
	in.orphaned = append(in.orphaned, start)
	return nil
}
