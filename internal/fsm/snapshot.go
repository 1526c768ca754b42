package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// The snapshot is the mark, the answers by revision, and the machine's snapshot,
// each with its length before it.

// view is the frozen content, or the error of freezing it.
type view struct {
	table   *Table
	mark    mark
	answers []*answer
	machine []byte
	err     error
}

// Freeze calls the machine for its snapshot. A stopped machine makes no snapshot:
// the commands that it has not executed are in the log, which is kept until there
// is a newer snapshot.
func (t *Table) Freeze() state.View {
	v := &view{table: t, mark: t.mark(), answers: t.answers[:len(t.answers):len(t.answers)]}
	if s := t.Stopped(); s != nil {
		v.err = fmt.Errorf("the state machine is stopped on this agent: %s", s.Reason)
		return v
	}
	v.machine, v.err = t.machineSnapshot()
	t.noteSnapshot(v.err)
	return v
}

// machineSnapshot turns a panic into an error: Snapshot should change nothing.
func (t *Table) machineSnapshot() (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the state machine's snapshot panicked: %v", p)
		}
	}()
	defer t.enter()()
	b, err = t.config.Machine.Snapshot()
	switch {
	case err != nil:
		return nil, fmt.Errorf("the state machine's snapshot: %w", err)
	case len(b) > MaxSnapshot:
		return nil, fmt.Errorf("the state machine's snapshot has %d bytes, at most %d are allowed", len(b), MaxSnapshot)
	}
	return bytes.Clone(b), nil
}

// noteSnapshot records since when snapshots have failed.
func (t *Table) noteSnapshot(err error) {
	if err == nil {
		t.failed.Store(nil)
		return
	}
	t.config.Logger.Errorf("cannot make a snapshot: %v; the log grows until one succeeds", err)
	s := &Stop{Reason: err.Error(), Since: t.config.Clock.Now()}
	if old := t.failed.Load(); old != nil {
		s.Since = old.Since
	}
	t.failed.Store(s)
}

// Write writes the content; equal tables write equal bytes.
func (v *view) Write(w io.Writer) error {
	if v.err != nil {
		return v.err
	}
	b := binary.AppendUvarint(v.mark.append(nil), uint64(len(v.answers)))
	for _, a := range v.answers {
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = a.append(b[:0])
	}
	if _, err := w.Write(binary.AppendUvarint(b, uint64(len(v.machine)))); err != nil {
		return err
	}
	_, err := w.Write(v.machine)
	return err
}

// Release drops the content.
func (v *view) Release() { v.answers, v.machine = nil, nil }

// Restore replaces the table, and the machine, by what a View wrote. A machine that
// cannot restore its part is stopped; the rest is restored.
func (t *Table) Restore(version uint16, r io.Reader) error {
	in, err := t.read(version, r)
	if err == nil {
		t.assign(in)
	}
	return err
}

// Stage is part of machine.Replacer.
func (t *Table) Stage(version uint16, r io.Reader) (any, error) { return t.read(version, r) }

// Replace is part of machine.Replacer. The machine begins again: its earlier answers are
// dropped, because those to other commands may have had the same revisions.
func (t *Table) Replace(turn *state.Turn, staged any, _ state.Time) {
	in := staged.(*restored)
	in.content = content{marks: []mark{{revision: turn.Revision}}}
	t.assign(in)
}

// restored is what was read of a view.
type restored struct {
	content
	machine string
}

func (t *Table) read(version uint16, r io.Reader) (*restored, error) {
	if version != t.Version() {
		return nil, fmt.Errorf("cannot restore the state machine: unknown version %d, this build reads version %d", version, t.Version())
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("cannot restore the state machine: %w", err)
	}
	c, machine, err := readContent(text.String())
	if err != nil {
		return nil, fmt.Errorf("cannot restore the state machine: %w", err)
	}
	return &restored{c, machine}, nil
}

// assign makes what was read the content of the table and of the machine.
func (t *Table) assign(in *restored) {
	t.content = in.content
	t.stopped.Store(nil)
	t.guarded("restoring a snapshot", func() {
		if err := t.config.Machine.Restore([]byte(in.machine)); err != nil {
			t.stop(fmt.Sprintf("it cannot restore its snapshot at revision %d: %v", t.mark().revision, err))
		}
	})
}

// readContent reads a snapshot.
func readContent(s string) (c content, machine string, err error) {
	d := codec.NewDecoder(s)
	m := mark{revision: interrex.Revision(d.Uvarint())}
	copy(m.digest[:], d.Bytes(len(m.digest)))
	c.marks = []mark{m}
	for n := d.Uvarint(); n > 0 && !d.Failed(); n-- {
		a := readAnswer(&d)
		if last := len(c.answers); a.revision > m.revision || last > 0 && c.answers[last-1].revision >= a.revision {
			d.Fail()
		}
		c.answers = append(c.answers, a)
		c.bytes += a.size()
	}
	if machine = d.Text(); !d.Done() {
		return c, "", errors.New("it is malformed")
	}
	return c, machine, nil
}
