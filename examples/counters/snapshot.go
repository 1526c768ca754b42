package counters

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex/state"
)

// Freeze makes a view, at a cost that does not depend on the number of counters:
// the tree is copied node by node when the table writes to it.
func (t *table) Freeze() state.View { return view{t.counters.Copy()} }

type view struct{ counters *btree.Map[string, Record] }

// Release implements state.View; the garbage collector frees the view.
func (v view) Release() {}

// Write writes the number of counters, then each counter in the order of keys.
func (v view) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	b := binary.BigEndian.AppendUint64(nil, uint64(v.counters.Len()))
	_, err := out.Write(b)
	v.counters.Scan(func(_ string, r Record) bool {
		b = appendRecord(b[:0], r)
		_, err = out.Write(b)
		return err == nil
	})
	return errors.Join(err, out.Flush())
}

// Restore replaces the table's content with what a View wrote. After an error the
// table is unchanged.
func (t *table) Restore(version uint16, r io.Reader) error {
	if version != t.Version() {
		return fmt.Errorf("cannot restore counters: version %d is not supported, only %d", version, t.Version())
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("cannot restore counters: %w", err)
	}
	d, fresh := decoder{rest: b}, newTable()
	for n := d.number(); n > 0 && !d.failed; n-- {
		fresh.put(d.record())
	}
	if !d.done() {
		return errors.New("cannot restore counters: they are malformed")
	}
	t.counters, t.due = fresh.counters, fresh.due
	return nil
}
