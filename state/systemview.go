package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/interrex/interrex"
)

// systemView is a frozen system. Records are immutable, and a name is
// replaced, not changed, while a view that is older may read it.
type systemView struct {
	identity Identity
	settings map[string]string
	loss     Loss
	names    []*name
	singles  []*single
	tables   tableSet
	buffer   []byte
	reply    []byte
}

func (s *system) freeze(tables tableSet) *systemView {
	r := s.records
	r.generation++
	return &systemView{
		identity: s.identity,     // its map is never changed
		settings: s.settings.set, // nor is this
		loss:     r.loss,
		names:    slices.Clone(r.all),
		singles:  slices.Clone(r.queue.Items()),
		tables:   tables,
	}
}

func (v *systemView) write(w io.Writer) error {
	slices.SortFunc(v.names, func(a, b *name) int {
		return cmp.Or(strings.Compare(a.key.caller, b.key.caller), strings.Compare(a.key.id, b.key.id))
	})
	b := appendIdentity(nil, v.identity)
	b = appendTexts(b, v.settings)
	b = binary.AppendUvarint(b, uint64(v.loss.From))
	b = binary.AppendUvarint(b, uint64(v.loss.To))
	b = binary.AppendVarint(b, int64(v.loss.At))
	b = binary.AppendUvarint(b, uint64(len(v.names)))
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, n := range v.names {
		if _, err := w.Write(v.appendName(v.buffer[:0], n)); err != nil {
			return err
		}
	}
	if _, err := w.Write(binary.AppendUvarint(nil, uint64(len(v.singles)))); err != nil {
		return err
	}
	for _, s := range v.singles {
		if _, err := w.Write(v.appendSingle(v.buffer[:0], s)); err != nil {
			return err
		}
	}
	return nil
}

func (v *systemView) appendName(b []byte, n *name) []byte {
	live := n.records.live()
	b = appendBytes(b, n.key.caller)
	b = appendBytes(b, n.key.id)
	b = binary.AppendUvarint(b, n.mark)
	b = binary.AppendUvarint(b, n.first)
	b = binary.AppendVarint(b, int64(n.last))
	b = binary.AppendUvarint(b, uint64(len(live)))
	for i := range live {
		b = v.appendRecord(b, &live[i])
	}
	v.buffer = b
	return b
}

func (v *systemView) appendSingle(b []byte, s *single) []byte {
	b = appendBytes(b, s.key.caller)
	b = appendBytes(b, s.key.id)
	b = binary.AppendVarint(b, int64(s.at))
	b = v.appendRecord(b, &s.record)
	v.buffer = b
	return b
}

func (v *systemView) appendRecord(b []byte, r *record) []byte {
	b = binary.AppendUvarint(b, r.number)
	b = binary.AppendUvarint(b, uint64(r.table))
	b = binary.AppendUvarint(b, uint64(r.attempt))
	b = binary.BigEndian.AppendUint64(b, r.content)
	b = binary.AppendUvarint(b, uint64(r.revision))
	v.reply = v.tables.appendReply(v.reply[:0], r.table, r.reply)
	return appendBytes(b, v.reply)
}

// decodeSystem reads what a view has written.
func decodeSystem(chunks [][]byte, tables tableSet) (*system, error) {
	d := decoder{b: bytes.Join(chunks, nil)}
	sys := newSystem(declare(tables))
	sys.identity = d.identity()
	sys.settings.set = d.texts()
	sys.records.loss = Loss{From: interrex.Revision(d.uvarint()), To: interrex.Revision(d.uvarint()), At: Time(d.varint())}
	var names []*name
	for n := d.count(); n > 0 && d.err == nil; n-- {
		names = append(names, d.name(tables))
	}
	var singles []*single
	for n := d.count(); n > 0 && d.err == nil; n-- {
		s := &single{key: d.recordKey(), at: Time(d.varint())}
		s.record = d.record(tables)
		singles = append(singles, s)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return sys, sys.records.restore(names, singles)
}

func (d *decoder) recordKey() recordKey {
	caller, id := d.text(), d.text()
	return recordKey{caller, id}.clone()
}

func (d *decoder) name(tables tableSet) *name {
	n := &name{key: d.recordKey(), mark: d.uvarint(), first: d.uvarint(), last: Time(d.varint())}
	for i := d.count(); i > 0 && d.err == nil; i-- {
		r := d.record(tables)
		if last := len(n.records.all) - 1; r.number < n.mark || last >= 0 && r.number <= n.records.all[last].number {
			d.fail(fmt.Errorf("record %d of name %q is out of order", r.number, n.key.id))
		}
		n.records.all = append(n.records.all, r)
	}
	return n
}

func (d *decoder) record(tables tableSet) record {
	r := record{number: d.uvarint(), table: TableID(d.small(math.MaxUint16)), attempt: uint32(d.small(math.MaxUint32))}
	if len(d.b) < 8 {
		d.fail(errShort)
		return r
	}
	r.content = binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	r.revision = interrex.Revision(d.uvarint())
	reply := d.bytes()
	if d.err != nil {
		return r
	}
	var err error
	if r.reply, err = tables.decodeReply(reply, r.table); err != nil {
		d.fail(err)
	}
	return r
}
