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
	if version != t.Version() {
		return fmt.Errorf("cannot restore resources: unknown version %d, this build reads version %d", version, t.Version())
	}
	restored := New()
	in := codec.NewItemReader(r, maxItem)
	err := in.List(restored.restore)
	if err == nil {
		err = in.List(restored.restoreOrphaned)
	}
	if err == nil {
		err = in.End()
	}
	if err != nil {
		return fmt.Errorf("cannot restore resources: %w", err)
	}
	t.rows, t.owned, t.presence, t.counts, t.used = restored.rows, restored.owned, restored.presence, restored.counts, restored.used
	t.orphaned = restored.orphaned
	return nil
}

// restore appends one resource.
func (t *Table) restore(d *codec.Decoder) error {
	r, err := readRecord(d)
	if err != nil {
		return err
	}
	if last, _, ok := t.rows.Max(); ok && last >= r.key {
		return fmt.Errorf("%s is out of order", r.ID)
	}
	t.rows.Load(r.key, r)
	t.note(r)
	return nil
}

// restoreOrphaned appends one deleted owner.
func (t *Table) restoreOrphaned(d *codec.Decoder) error {
	start := strings.Clone(d.Text())
	last, _, some := t.orphaned.Max()
	switch _, owns := t.firstOwned(start); {
	case !d.Done() || !owns:
		return errors.New("it is malformed, or owns nothing")
	case some && last >= start:
		return fmt.Errorf("the owner %q is out of order", start)
	}
	t.orphaned.Set(start, struct{}{})
	return nil
}
