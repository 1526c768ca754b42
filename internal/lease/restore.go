package lease

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// maxItem is more than the bytes of the largest lease or history.
const maxItem = 64 << 10

// Restore replaces the table by what a View wrote. After an error the table is
// as it was.
func (t *Table) Restore(version uint16, r io.Reader) error {
	if version != t.Version() {
		return fmt.Errorf("cannot restore leases: unknown version %d, this build reads version %d", version, t.Version())
	}
	restored := New()
	in := codec.NewItemReader(r, maxItem)
	err := in.List(restored.restorePause)
	if err == nil {
		err = in.List(restored.restoreRow)
	}
	if err == nil {
		err = in.List(restored.history.restorePast)
	}
	if err == nil {
		err = in.End()
	}
	if err != nil {
		return fmt.Errorf("cannot restore leases: %w", err)
	}
	restored.due.build()
	restored.lapsing.build()
	t.rows, t.used, t.due, t.lapsing, t.history = restored.rows, restored.used, restored.due, restored.lapsing, restored.history
	t.paused, t.freezing = restored.paused, restored.freezing
	return nil
}

// restorePause reads the one item of the first list.
func (t *Table) restorePause(d *codec.Decoder) error {
	t.paused = state.Time(d.Varint())
	return nil
}

// restoreRow appends a lease; the schedules are sorted at the end.
func (t *Table) restoreRow(d *codec.Decoder) error {
	r := readRecord(d)
	if !d.Done() {
		return errors.New("an item is malformed")
	}
	if err := checkRecord(r); err != nil {
		return err
	}
	l := newRow(r.Key, r.Holder)
	if last, _, ok := t.rows.Max(); ok && last >= l.key {
		return fmt.Errorf("lease %s is out of order", r.Key)
	}
	l.metadata, l.pins = r.Metadata.Clone(), clonePins(r.Pins)
	l.token, l.ttl, l.acquired, l.expiry = r.Token, r.TTL, wallNanos(r.Acquired), r.Expiry
	t.rows.Load(l.key, l)
	t.used.Add(l.namespace(), capacity.Load{Count: 1, Bytes: l.weight()})
	k, at := placement(l)
	if s := t.schedule(k); s != nil {
		l.schedule = k
		s.slots = append(s.slots, slot{at, l})
	}
	return nil
}

// checkRecord refuses what the commands would have refused.
func checkRecord(r Record) error {
	c := Claim{Key: r.Key, Holder: r.Holder, TTL: r.TTL, Metadata: r.Metadata}
	if err := validate(&c); err != nil {
		return err
	}
	last := ""
	for _, p := range r.Pins {
		if err := (&Pin{Owner: p.Owner, Reason: p.Reason}).Validate(); err != nil {
			return err
		}
		if p.Owner <= last || p.Until < 0 {
			return fmt.Errorf("lease %s: pin of %q is malformed", r.Key, p.Owner)
		}
		last = p.Owner
	}
	return validateToken(r.Token)
}

func (h *history) restorePast(d *codec.Decoder) error {
	k := d.Key()
	p := &past{key: join(k), last: state.Time(d.Varint()), at: interrex.Revision(d.Uvarint())}
	lines := d.Uvarint()
	if lines == 0 || lines > historyLines {
		d.Fail()
	}
	for range lines {
		if d.Failed() {
			break
		}
		p.lines = append(p.lines, line{
			holder: d.Text(), token: interrex.Token(d.Uvarint()),
			acquired: d.Varint(), ended: d.Varint(), how: readEnding(d),
		})
	}
	if !d.Done() {
		return errors.New("an item is malformed")
	}
	if err := k.Validate(); err != nil {
		return err
	}
	if last, _, ok := h.byKey.Max(); ok && last >= p.key {
		return fmt.Errorf("history of %s is out of order", k)
	}
	if _, twice := h.byAge.Get(p.at); twice {
		return fmt.Errorf("history of %s: that of another key also ends at revision %d", k, p.at)
	}
	h.set(p)
	return nil
}

// readEnding reads how a lease ended.
func readEnding(d *codec.Decoder) interrex.Ending {
	switch how := d.Text(); how {
	case string(interrex.EndReleased):
		return interrex.EndReleased
	case string(interrex.EndForced):
		return interrex.EndForced
	case string(interrex.EndExpired):
		return interrex.EndExpired
	case string(interrex.EndTransferred):
		return interrex.EndTransferred
	case string(interrex.EndTakenOver):
		return interrex.EndTakenOver
	}
	d.Fail()
	return ""
}

// clonePins copies pins, so that they share no memory with the input.
func clonePins(pins []PinRecord) []PinRecord {
	for i, p := range pins {
		pins[i].Owner, pins[i].Reason = strings.Clone(p.Owner), strings.Clone(p.Reason)
	}
	return pins
}
