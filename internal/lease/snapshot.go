package lease

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// The snapshot is an item with the end of the pause after a recovery, and two
// lists, the leases by key and the histories by key.

// view is the frozen content: the trees are copied node by node when the table
// writes to them, and their rows when the table does.
type view struct {
	paused state.Time
	rows   *btree.Map[string, *row]
	pasts  *btree.Map[string, *past]
}

// Freeze makes a view at a cost that does not depend on the number of leases.
func (t *Table) Freeze() state.View {
	t.freezing++
	return &view{paused: t.paused, rows: t.rows.Copy(), pasts: t.history.byKey.Copy()}
}

// Release drops the content.
func (v *view) Release() { v.rows, v.pasts = nil, nil }

// Write writes the content; equal tables write equal bytes.
func (v *view) Write(w io.Writer) error {
	out := codec.NewItemWriter(w)
	out.Length(1)
	out.Item(binary.AppendVarint(out.Scratch[:0], int64(v.paused)))
	out.Length(v.rows.Len())
	v.rows.Scan(func(_ string, l *row) bool {
		return out.Item(appendRecord(out.Scratch[:0], l.record()))
	})
	out.Length(v.pasts.Len())
	v.pasts.Scan(func(_ string, p *past) bool {
		return out.Item(appendPast(out.Scratch[:0], p))
	})
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cannot write leases: %w", err)
	}
	return nil
}

func appendPast(b []byte, p *past) []byte {
	b = codec.AppendKey(b, split(p.key))
	b = binary.AppendVarint(b, int64(p.last))
	b = binary.AppendUvarint(b, uint64(p.at))
	b = binary.AppendUvarint(b, uint64(len(p.lines)))
	for _, l := range p.lines {
		b = binary.AppendUvarint(codec.AppendText(b, l.holder), uint64(l.token))
		b = binary.AppendVarint(binary.AppendVarint(b, l.acquired), l.ended)
		b = codec.AppendText(b, string(l.how))
	}
	return b
}
