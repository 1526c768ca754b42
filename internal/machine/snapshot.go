package machine

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/state"
)

// snapshot is a frozen state: one raft.FSMSnapshot.
type snapshot struct {
	header   snapfile.Header
	system   *systemView
	sections []snapfile.Section
	views    []state.View
	release  sync.Once
}

// Snapshot freezes the state as of the last entry, for raft to write concurrently
// with further Applies. A halted replica makes none: raft believes it has
// advanced further than it has, and would drop the entry at which it halted.
func (s *State) Snapshot() (raft.FSMSnapshot, error) { return s.freeze(true) }

// Copy is Snapshot for a copy that leaves the cluster: it is without the file that is
// being staged.
func (s *State) Copy() (raft.FSMSnapshot, error) { return s.freeze(false) }

func (s *State) freeze(staged bool) (raft.FSMSnapshot, error) {
	if err := s.Halted(); err != nil {
		return nil, fmt.Errorf("cannot make snapshot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables.lock()
	defer s.tables.unlock()
	f := s.view(s.at.Load(), s.tables)
	if !staged {
		f.system.staged = nil
	}
	return f, nil
}

// view freezes the state with some of its tables. The locks are held.
func (s *State) view(m *moment, tables tableSet) *snapshot {
	f := &snapshot{system: s.system.freeze(s.tables), header: snapfile.Header{
		ClusterID: s.system.identity.ClusterID, Epoch: s.system.identity.Epoch,
		Index: m.index, Term: m.term, Revision: m.revision, Floor: m.floor, Time: int64(m.now),
	}}
	for _, t := range tables {
		f.sections = append(f.sections, snapfile.Section{Table: uint16(t.ID()), Name: t.Name(), Version: t.Version()})
		f.views = append(f.views, t.Freeze())
	}
	return f
}

// Persist writes the snapshot into sink at a pace that leaves room to others, and cancels
// it on any error.
func (f *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := f.write(snapfile.Paced(sink)); err != nil {
		return errors.Join(fmt.Errorf("cannot write snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("cannot close snapshot %s: %w", sink.ID(), err)
	}
	return nil
}

func (f *snapshot) write(w io.Writer) error {
	out := snapfile.NewWriter(w, f.header)
	err := f.each(func(s snapfile.Section, write func(io.Writer) error) error {
		if err := out.Begin(s); err != nil {
			return err
		}
		return write(out)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// each calls do for each section in order, with what writes its content.
func (f *snapshot) each(do func(s snapfile.Section, write func(io.Writer) error) error) error {
	own := snapfile.Section{Table: uint16(SystemTable), Name: systemName, Version: f.system.version()}
	if err := do(own, f.system.write); err != nil {
		return err
	}
	if f.system.staged != nil {
		own.Name, own.Version = stagedName, stagedVersion
		if err := do(own, f.system.staged.write); err != nil {
			return err
		}
	}
	for i, v := range f.views {
		if err := do(f.sections[i], v.Write); err != nil {
			return fmt.Errorf("table %q: %w", f.sections[i].Name, err)
		}
	}
	return nil
}

// Release releases the views.
func (f *snapshot) Release() {
	f.release.Do(func() {
		for _, v := range f.views {
			v.Release()
		}
	})
}

// Restore replaces everything by a snapshot of the same history. A snapshot at or
// below the applied log index changes nothing: raft sends such snapshots too, and
// a state never goes back. The whole stream is read into memory and verified
// before anything is replaced; if a table cannot restore verified content, the
// state halts. A table that the snapshot does not contain is left as it is: it is
// newer than the snapshot, and empty.
func (s *State) Restore(r io.ReadCloser) error {
	defer r.Close()
	in, err := snapfile.Open(r)
	if err != nil {
		return fmt.Errorf("cannot restore snapshot: %w", err)
	}
	if applied, _ := s.Applied(); in.Header.Index <= applied {
		s.logger.Infof("snapshot of log index %d changes nothing: %d is applied", in.Header.Index, applied)
		_, err := io.Copy(io.Discard, r)
		return err
	}
	parts, err := s.collect(in)
	if err != nil {
		return fmt.Errorf("cannot restore snapshot of log index %d: %w", in.Header.Index, err)
	}
	sys, err := s.decodeSystem(in.Header, parts)
	if err != nil {
		return fmt.Errorf("cannot restore snapshot of log index %d: %w", in.Header.Index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(in.Header, sys, parts); err != nil {
		sys.unstage()
		return fmt.Errorf("cannot restore snapshot of log index %d: %w", in.Header.Index, err)
	}
	s.logger.Infof("restored snapshot of log index %d, revision %d", in.Header.Index, in.Header.Revision)
	s.applied.release(in.Header.Index)
	s.revision.release(uint64(in.Header.Revision))
	return nil
}

// part is a section with its content.
type part struct {
	snapfile.Section
	chunks [][]byte
}

// collect reads and verifies the whole stream, and whether all of it is known.
func (s *State) collect(in *snapfile.Reader) ([]part, error) {
	var parts []part
	last := -1 // table
	for {
		sec, err := in.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.tables.knows(sec, last)
		}
		p := part{Section: sec}
		if err == nil {
			p.chunks, err = readChunks(in)
		}
		if err != nil {
			return nil, err
		}
		parts, last = append(parts, p), int(sec.Table)
	}
	if len(parts) == 0 {
		return nil, errNoSystem
	}
	return parts, nil
}

var errNoSystem = errors.New("it does not begin with the system section")

// knows refuses a section after that of the table last, which is -1 for the first, unless
// this build can read it.
func (ts tableSet) knows(sec snapfile.Section, last int) error {
	name, oldest, version := systemName, uint16(oldestSystem), uint16(systemVersion)
	switch {
	case isStaged(sec, last):
		name, oldest, version = stagedName, stagedVersion, stagedVersion
	case (last < 0) != (sec.Table == uint16(SystemTable)):
		return errNoSystem
	case last >= 0:
		t := ts.find(state.TableID(sec.Table))
		if t == nil || int(sec.Table) <= last {
			return fmt.Errorf("table %d %q is unknown, or is in it twice", sec.Table, sec.Name)
		}
		name, oldest, version = t.Name(), 0, t.Version()
	}
	if sec.Name != name || sec.Version < oldest || sec.Version > version {
		return fmt.Errorf("table %d is %q in version %d there, and %q in version %d here: run the interrex that wrote it", sec.Table, sec.Name, sec.Version, name, version)
	}
	return nil
}

// isStaged reports whether a section after that of the table last is the staged file, which
// may follow the system.
func isStaged(sec snapfile.Section, last int) bool {
	return last == int(SystemTable) && sec.Table == uint16(SystemTable) && sec.Name == stagedName
}

// readChunks reads all of r, without one block of memory of its size.
func readChunks(r io.Reader) (chunks [][]byte, err error) {
	for {
		b := make([]byte, chunkBytes)
		n, err := io.ReadFull(r, b)
		if n > 0 {
			chunks = append(chunks, b[:n:n])
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return chunks, nil
		default:
			return nil, err
		}
	}
}

const chunkBytes = 64 << 10

// decodeSystem reads the state apart from its tables, and the file that is staged in it.
func (s *State) decodeSystem(h snapfile.Header, parts []part) (*system, error) {
	sys, err := decodeSystem(parts[0], s.tables, s.tables)
	if err != nil {
		return nil, fmt.Errorf("the system section: %w", err)
	}
	if err := sys.belongsTo(h); err != nil {
		return nil, err
	}
	if len(parts) > 1 && isStaged(parts[1].Section, 0) {
		if err := sys.restoreStaged(parts[1].chunks, s.tables); err != nil {
			return nil, fmt.Errorf("the file that is staged in it: %w", err)
		}
	}
	return sys, nil
}

// replace replaces the content by what was verified.
func (s *State) replace(h snapfile.Header, sys *system, parts []part) error {
	if err := s.system.identity.same(sys.identity); err != nil {
		return err
	}
	s.tables.lock()
	defer s.tables.unlock()
	for _, p := range parts {
		if p.Table == uint16(SystemTable) {
			continue
		}
		if err := restoreTable(s.tables.find(state.TableID(p.Table)), p.Section, &chunkReader{p.chunks}); err != nil {
			s.halt(h.Index, err)
			return err
		}
	}
	if s.recorder != nil && !slices.ContainsFunc(parts, func(p part) bool { return state.TableID(p.Table) == s.recorder.ID() }) {
		s.recorder.Skip(h.Revision)
	}
	sys.records.names.gone += s.system.records.names.gone + 1 // some may be gone now
	s.system.unstage()
	s.system = sys
	sys.settings.configure()
	m := moment{index: h.Index, term: h.Term, revision: h.Revision, floor: h.Floor, loss: sys.records.loss, now: state.Time(h.Time), since: s.clock.Now(), identity: sys.identity, restored: sys.restored}
	m.due, m.hasDue = s.due()
	s.publisher.Reset(h.Revision, sys.restored.To)
	s.at.Store(&m)
	s.halted.Store(nil)
	return nil
}

// belongsTo refuses a header of another history.
func (s *system) belongsTo(h snapfile.Header) error {
	if s.identity.ClusterID != h.ClusterID || s.identity.Epoch != h.Epoch {
		return errors.New("its header and its content belong to different histories")
	}
	return nil
}

func restoreTable(t state.Table, s snapfile.Section, content io.Reader) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("table %q: panic: %v", s.Name, r)
		}
	}()
	if err := t.Restore(s.Version, content); err != nil {
		return fmt.Errorf("table %q: %w", s.Name, err)
	}
	return nil
}

// same refuses a history other than id's; an id without a cluster ID accepts any.
func (id Identity) same(o Identity) error {
	if id.ClusterID == "" || id.ClusterID == o.ClusterID && id.Epoch == o.Epoch {
		return nil
	}
	return fmt.Errorf("it belongs to another history: cluster %q epoch %d, but this is cluster %q epoch %d", o.ClusterID, o.Epoch.Number, id.ClusterID, id.Epoch.Number)
}

// chunkReader reads chunks, and drops each once it has been read.
type chunkReader struct{ chunks [][]byte }

func (c *chunkReader) Read(p []byte) (int, error) {
	for len(c.chunks) > 0 && len(c.chunks[0]) == 0 {
		c.chunks[0] = nil
		c.chunks = c.chunks[1:]
	}
	if len(c.chunks) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.chunks[0])
	c.chunks[0] = c.chunks[0][n:]
	return n, nil
}
