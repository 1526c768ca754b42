package lease

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex/state"
)

// The snapshot is two lists, the leases by key and the histories by key. A list
// is its length and its items; an item is its length and its bytes.

// chunk is how much of a snapshot is gathered before it is written.
const chunk = 64 << 10

// view is the frozen content: the trees are copied node by node when the table
// writes to them, and their rows when the table does.
type view struct {
	rows  *btree.Map[string, *row]
	pasts *btree.Map[string, *past]
}

// Freeze makes a view at a cost that does not depend on the number of leases.
func (t *Table) Freeze() state.View {
	t.freezing++
	return &view{rows: t.rows.Copy(), pasts: t.history.byKey.Copy()}
}

// Release lets go of the content.
func (v *view) Release() { v.rows, v.pasts = nil, nil }

// Write writes the content; equal tables write equal bytes.
func (v *view) Write(w io.Writer) error {
	out := itemWriter{w: w}
	out.length(v.rows.Len())
	v.rows.Scan(func(_ string, l *row) bool {
		return out.item(appendRecord(out.scratch[:0], l.record()))
	})
	out.length(v.pasts.Len())
	v.pasts.Scan(func(_ string, p *past) bool {
		return out.item(appendPast(out.scratch[:0], p))
	})
	if err := out.flush(); err != nil {
		return fmt.Errorf("cannot write leases: %w", err)
	}
	return nil
}

// itemWriter gathers items into chunks. After an error it writes no more.
type itemWriter struct {
	w       io.Writer
	buf     []byte
	scratch []byte // of the last item, to be used again
	err     error
}

func (o *itemWriter) length(n int) {
	o.buf = binary.AppendUvarint(o.buf, uint64(n))
}

// item takes what was appended to scratch; false: there was an error.
func (o *itemWriter) item(b []byte) bool {
	o.scratch = b
	o.length(len(b))
	o.buf = append(o.buf, b...)
	if len(o.buf) >= chunk {
		o.flush()
	}
	return o.err == nil
}

func (o *itemWriter) flush() error {
	if o.err == nil {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
	return o.err
}

func appendPast(b []byte, p *past) []byte {
	b = appendKey(b, split(p.key))
	b = binary.AppendVarint(b, int64(p.last))
	b = binary.AppendUvarint(b, uint64(p.at))
	b = binary.AppendUvarint(b, uint64(len(p.lines)))
	for _, l := range p.lines {
		b = binary.AppendUvarint(appendText(b, l.holder), uint64(l.token))
		b = binary.AppendVarint(binary.AppendVarint(b, l.acquired), l.ended)
		b = appendText(b, string(l.how))
	}
	return b
}
