package machine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// systemView is a frozen system. Records are immutable, and a name is
// replaced, not changed, while a view that is older may read it.
type systemView struct {
	identity Identity
	settings map[string]string
	loss     Loss

	lostName   interrex.Revision
	names      []*name
	lostSingle interrex.Revision
	early      state.Time
	singles    []*single
	restored   RestoredFile
	staged     *stagedView // nil: there is none

	tables tableSet
	buffer []byte
	reply  []byte
}

func (s *system) freeze(tables tableSet) *systemView {
	r := s.records
	v := &systemView{
		identity: s.identity,     // its map is never changed
		settings: s.settings.set, // nor is this
		loss:     r.loss,
		lostName: r.names.lost, names: r.names.freeze(),
		lostSingle: r.singles.lost, early: r.singles.early, singles: r.singles.freeze(),
		restored: s.restored, tables: tables,
	}
	if s.staging != nil {
		v.staged = s.staging.freeze()
	}
	return v
}

// version returns the version of what is written: older builds read what has nothing
// that they do not know.
func (v *systemView) version() uint16 {
	if v.staged == nil && v.restored == (RestoredFile{}) {
		return oldestSystem
	}
	return systemVersion
}

func (v *systemView) write(w io.Writer) error {
	slices.SortFunc(v.names, (*name).idle)
	b := appendIdentity(nil, v.identity)
	b = appendTexts(b, v.settings)
	b = binary.AppendUvarint(b, uint64(v.loss.From))
	b = binary.AppendUvarint(b, uint64(v.loss.To))
	b = binary.AppendVarint(b, int64(v.loss.At))
	b = binary.AppendUvarint(b, uint64(v.lostName))
	b = binary.AppendUvarint(b, uint64(len(v.names)))
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, n := range v.names {
		if _, err := w.Write(v.appendName(v.buffer[:0], n)); err != nil {
			return err
		}
	}
	b = binary.AppendUvarint(b[:0], uint64(v.lostSingle))
	b = binary.AppendVarint(b, int64(v.early))
	if _, err := w.Write(binary.AppendUvarint(b, uint64(len(v.singles)))); err != nil {
		return err
	}
	for _, s := range v.singles {
		if _, err := w.Write(v.appendSingle(v.buffer[:0], s)); err != nil {
			return err
		}
	}
	if v.version() == oldestSystem {
		return nil
	}
	b = binary.BigEndian.AppendUint64(b[:0], v.restored.File)
	b = binary.AppendUvarint(b, uint64(v.restored.From))
	_, err := w.Write(binary.AppendUvarint(b, uint64(v.restored.To)))
	return err
}

func (v *systemView) appendName(b []byte, n *name) []byte {
	live := n.records.live()
	b = appendBytes(b, n.caller)
	b = binary.BigEndian.AppendUint64(b, n.bits)
	b = binary.AppendUvarint(b, uint64(n.revision))
	b = appendBytes(b, n.user)
	b = binary.AppendUvarint(b, n.mark)
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
	b = appendBytes(b, s.key.holder)
	b = appendBytes(b, s.key.id)
	b = appendBytes(b, s.user)
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

// replyDecoder decodes the replies that records have.
type replyDecoder interface {
	decodeReply(b []byte, table state.TableID) (state.Reply, error)
}

// decodeSystem reads what a view has written.
func decodeSystem(p part, tables tableSet, replies replyDecoder) (*system, error) {
	d := decoder{b: bytes.Join(p.chunks, nil)}
	sys := newSystem(declare(tables))
	sys.identity = d.identity()
	sys.settings.set = d.texts()
	r := sys.records
	r.loss = Loss{From: interrex.Revision(d.uvarint()), To: interrex.Revision(d.uvarint()), At: state.Time(d.varint())}
	r.names.lost = interrex.Revision(d.uvarint())
	var names []*name
	for n := d.count(); n > 0 && d.err == nil; n-- {
		names = append(names, d.name(replies))
	}
	r.singles.lost, r.singles.early = interrex.Revision(d.uvarint()), state.Time(d.varint())
	var singles []*single
	for n := d.count(); n > 0 && d.err == nil; n-- {
		singles = append(singles, d.single(replies))
	}
	if p.Version > oldestSystem {
		sys.restored = RestoredFile{File: d.uint64(), From: interrex.Revision(d.uvarint()), To: interrex.Revision(d.uvarint())}
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if err := r.names.restore(names); err != nil {
		return nil, err
	}
	return sys, r.singles.restore(singles)
}

func (d *decoder) name(replies replyDecoder) *name {
	o := opener{strings.Clone(d.text()), d.uint64()}
	revision, user, mark, last := interrex.Revision(d.uvarint()), d.user(), d.uvarint(), state.Time(d.varint())
	n := newName(o, revision, user, last)
	n.mark = mark
	for i := d.count(); i > 0 && d.err == nil; i-- {
		r := d.record(replies)
		if last := len(n.records.all) - 1; r.number < n.mark || last >= 0 && r.number <= n.records.all[last].number {
			d.fail(fmt.Errorf("record %d of the name of revision %d is out of order", r.number, n.revision))
		}
		n.records.all = append(n.records.all, r)
		n.weight = n.weight.plus(r.weight())
	}
	return n
}

func (d *decoder) single(replies replyDecoder) *single {
	s := &single{key: singleKey{d.text(), d.text(), d.text()}.clone(), user: d.user(), at: state.Time(d.varint())}
	s.record = d.record(replies)
	return s
}

// user reads and copies a user.
func (d *decoder) user() string {
	text := strings.Clone(d.text())
	if d.err == nil && (text == "" || text[:1] != userCaller && text[:1] != userAddress) {
		d.fail(fmt.Errorf("%.80q is not a user", text))
	}
	return text
}

func (d *decoder) record(replies replyDecoder) record {
	r := record{number: d.uvarint(), table: state.TableID(d.small(math.MaxUint16)), attempt: uint32(d.small(math.MaxUint32))}
	r.content = d.uint64()
	r.revision = interrex.Revision(d.uvarint())
	reply := d.bytes()
	if d.err != nil {
		return r
	}
	var err error
	if r.reply, err = replies.decodeReply(reply, r.table); err != nil {
		d.fail(err)
	}
	r.bytes = uint32(len(reply))
	return r
}
