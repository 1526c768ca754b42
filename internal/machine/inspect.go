package machine

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/state"
)

// Inspect reads a whole snapshot, and says what is wrong with it. fresh returns empty
// tables, others at each call: each section is restored into its own, and shown to seen,
// so that only one of them is in memory. The first section is that of the state itself,
// whose table is nil, as is that of an embedder's table that fresh does not return; of
// those only the checksums are verified.
func Inspect(r io.Reader, fresh func() []state.Table, seen func(name string, version uint16, bytes int64, t state.Table)) (interrex.Snapshot, error) {
	in, err := snapfile.Open(r)
	if err != nil {
		return interrex.Snapshot{}, err
	}
	for last := -1; ; {
		sec, err := in.Next()
		if err == io.EOF && last >= 0 {
			return in.Snapshot(), nil
		} else if err == io.EOF {
			err = errNoSystem
		}
		if err != nil {
			return interrex.Snapshot{}, err
		}
		content := &counted{r: in}
		t, err := inspect(sec, last, fresh, in.Header, content)
		if content.err != nil {
			err = content.err // the cause of the table's
		}
		if err != nil {
			return interrex.Snapshot{}, fmt.Errorf("section %.80q: %w", sec.Name, err)
		}
		seen(sec.Name, sec.Version, content.bytes, t)
		last = int(sec.Table)
	}
}

// inspect reads one section, after that of the table last, and returns its table.
func inspect(sec snapfile.Section, last int, fresh func() []state.Table, h snapfile.Header, content io.Reader) (state.Table, error) {
	s, err := New(Config{Tables: fresh()})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	t := s.tables.find(state.TableID(sec.Table))
	if t == nil && last >= 0 && int(sec.Table) > last && foreign(state.TableID(sec.Table)) {
		_, err := io.Copy(io.Discard, content)
		return nil, err
	}
	if err := s.tables.knows(sec, last); err != nil {
		return nil, err
	}
	if isStaged(sec, last) {
		_, err := io.Copy(io.Discard, content)
		return nil, err
	}
	if t == nil {
		return nil, inspectSystem(s.tables, h, sec, content)
	}
	if s.recorder != nil {
		s.recorder.UseCodecs(s.foreignCodec)
	}
	s.tables.lock()
	defer s.tables.unlock()
	return t, restoreTable(t, sec, content)
}

func inspectSystem(tables tableSet, h snapfile.Header, sec snapfile.Section, content io.Reader) error {
	chunks, err := readChunks(content)
	if err != nil {
		return err
	}
	sys, err := decodeSystem(part{sec, chunks}, tables, tolerant{tables})
	if err != nil {
		return err
	}
	return sys.belongsTo(h)
}

// Readable returns why this build cannot apply an entry: its version, or a command or a
// table in it, is of a later one. What belongs to an embedder's tables that are not here
// is passed over.
func (s *State) Readable(b []byte) error {
	var e Entry
	if err := e.Decode(b); err != nil {
		return err
	}
	foreigner := func(id state.TableID) bool { return foreign(id) && s.tables.find(id) == nil }
	var own []state.Operation
	for _, o := range e.Operations {
		group := slices.DeleteFunc(o.Group, func(p state.Part) bool { return foreigner(p.Table) })
		if len(o.Group) == 0 && !foreigner(o.Table) || len(group) > 0 {
			o.Group = group
			own = append(own, o)
		}
	}
	e.Operations = own
	return s.known(&e)
}

// foreign reports whether a table belongs to an embedder.
func foreign(id state.TableID) bool { return id >= state.FirstEmbedderTable || id == FSMTable }

// unknownTable is the error of a reply whose table is not known here.
type unknownTable state.TableID

// Error implements error.
func (t unknownTable) Error() string { return fmt.Sprintf("a record is of the unknown table %d", t) }

// tolerant reads replies of an embedder's tables, which are not known here, as nil.
type tolerant struct{ tables tableSet }

func (t tolerant) decodeReply(b []byte, table state.TableID) (state.Reply, error) {
	r, err := t.tables.decodeReply(b, table)
	if of := unknownTable(0); errors.As(err, &of) && foreign(state.TableID(of)) {
		return nil, nil
	}
	return r, err
}

// foreignCodec returns the codec of a table's events; of an embedder's table, which is
// not known here, one that drops their values.
func (s *State) foreignCodec(id state.TableID) state.EventCodec {
	if s.tables.find(id) == nil && foreign(id) {
		return dropped{}
	}
	return s.codec(id)
}

// dropped is a codec of values that are not read.
type dropped struct{}

// AppendEvent implements EventCodec.
func (dropped) AppendEvent(b []byte, _ any) []byte { return b }

// DecodeEvent implements EventCodec.
func (dropped) DecodeEvent([]byte) (any, error) { return state.Lost{}, nil }

// counted counts what is read, and keeps the error that ends it.
type counted struct {
	r     io.Reader
	bytes int64
	err   error
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bytes += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
