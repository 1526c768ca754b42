package change

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// The snapshot is two lists: one item with the floor and the last revision, and
// the changes.

// maxItem is more than the bytes of the largest change.
const maxItem = 4 << 20

// How a snapshot encodes an event's value.
const (
	valueNone byte = iota
	valueKept      // followed by its bytes
	valueLost
)

// frozen is the content of a snapshot.
type frozen struct {
	view  view
	codec func(state.TableID) state.EventCodec
}

// Freeze makes a view at a cost that does not depend on the number of changes.
func (t *Table) Freeze() state.View { return &frozen{t.feed.view(), t.codec} }

// Release drops the content.
func (f *frozen) Release() { f.view = view{} }

// Write writes the content; equal feeds write equal bytes.
func (f *frozen) Write(w io.Writer) error {
	out := codec.NewItemWriter(w)
	out.Length(1)
	out.Item(binary.AppendUvarint(binary.AppendUvarint(out.Scratch[:0], uint64(f.view.floor)), uint64(f.view.last)))
	n := 0
	f.view.forward(place{0, f.view.head}, func(*state.Event) bool { n++; return true })
	out.Length(n)
	f.view.forward(place{0, f.view.head}, func(e *state.Event) bool { return out.Item(f.appendEvent(out.Scratch[:0], e)) })
	if err := out.Flush(); err != nil {
		return fmt.Errorf("cannot write changes: %w", err)
	}
	return nil
}

func (f *frozen) appendEvent(b []byte, e *state.Event) []byte {
	b = binary.AppendUvarint(b, uint64(e.Revision))
	b = binary.AppendUvarint(b, uint64(e.Table))
	b = codec.AppendText(codec.AppendText(b, e.Kind), e.Key)
	b = binary.AppendVarint(b, int64(e.Now))
	b = binary.AppendVarint(b, e.Wall.UnixNano())
	b = binary.AppendUvarint(b, uint64(e.Size))
	_, lost := e.Value.(state.Lost)
	switch c := f.codec(e.Table); {
	case e.Value == nil:
		b = append(b, valueNone)
	case c == nil, lost:
		b = append(b, valueLost)
	default:
		b = c.AppendEvent(append(b, valueKept), e.Value)
	}
	return b
}

// Restore replaces the feed by what a View wrote. After an error it is as it
// was.
func (t *Table) Restore(version uint16, r io.Reader) error {
	f, err := t.read(version, r)
	if err != nil {
		return err
	}
	t.replace(*f)
	return nil
}

// Stage is part of machine.Replacer.
func (t *Table) Stage(version uint16, r io.Reader) (any, error) { return t.read(version, r) }

// Replace is part of machine.Replacer. The changes keep the ages that they had when they
// were saved.
func (t *Table) Replace(turn *state.Turn, staged any, saved state.Time) {
	f := staged.(*feed)
	for _, r := range f.runs {
		for i := range r.events {
			r.events[i].Now += turn.Now - saved
		}
	}
	f.last, f.ended = turn.Revision, turn.Revision
	t.replace(*f)
}

func (t *Table) replace(f feed) {
	t.feed = f
	t.waiting.wakeAll()
	t.applied.Update(f.last)
}

func (t *Table) read(version uint16, r io.Reader) (*feed, error) {
	if version != t.Version() {
		return nil, fmt.Errorf("cannot restore changes: unknown version %d, this build reads version %d", version, t.Version())
	}
	f := &feed{index: newIndex()}
	in := codec.NewItemReader(r, maxItem)
	err := in.List(func(d *codec.Decoder) error {
		f.floor, f.last = interrex.Revision(d.Uvarint()), interrex.Revision(d.Uvarint())
		return nil
	})
	if err == nil {
		err = in.List(func(d *codec.Decoder) error { return f.restore(d, t.codec) })
	}
	if err == nil {
		err = in.End()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot restore changes: %w", err)
	}
	return f, nil
}

// restore appends one change.
func (f *feed) restore(d *codec.Decoder, codecOf func(state.TableID) state.EventCodec) error {
	e := state.Event{
		Revision: interrex.Revision(d.Uvarint()), Table: state.TableID(d.Uvarint()),
		Kind: strings.Clone(d.Text()), Key: strings.Clone(d.Text()),
		Now: state.Time(d.Varint()), Wall: time.Unix(0, d.Varint()).UTC(), Size: int(d.Uvarint()),
	}
	value := d.Uvarint()
	rest := d.Rest()
	if d.Failed() || value > uint64(valueLost) || value != uint64(valueKept) && rest != "" || e.Size < 0 {
		return errors.New("it is malformed")
	}
	if e.Revision <= f.floor || e.Revision > f.last || len(f.runs) > 0 && e.Revision < f.runs[len(f.runs)-1].last() {
		return fmt.Errorf("revision %d is out of order", e.Revision)
	}
	if value == uint64(valueLost) {
		e.Value = state.Lost{}
	}
	if value == uint64(valueKept) {
		c := codecOf(e.Table)
		if c == nil {
			return fmt.Errorf("revision %d is of table %d, whose changes this build cannot read", e.Revision, e.Table)
		}
		var err error
		if e.Value, err = c.DecodeEvent([]byte(rest)); err != nil {
			return err
		}
	}
	f.add([]state.Event{e}, f.last)
	return nil
}
