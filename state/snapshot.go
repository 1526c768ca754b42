package state

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// snapshot is a frozen state: one raft.FSMSnapshot.
type snapshot struct {
	header   header
	system   *systemView
	sections []section
	views    []View
	release  sync.Once
}

// Snapshot freezes the state as of the last entry, for raft to write concurrently
// with further Applies. A halted replica makes none: raft believes it has
// advanced further than it has, and would drop the entry at which it halted.
func (s *State) Snapshot() (raft.FSMSnapshot, error) {
	if err := s.Halted(); err != nil {
		return nil, fmt.Errorf("cannot make snapshot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables.lock()
	defer s.tables.unlock()
	m := s.at.Load()
	f := &snapshot{system: s.system.freeze(s.tables), header: header{
		ClusterID: s.system.identity.ClusterID, Epoch: s.system.identity.Epoch,
		Index: m.index, Term: m.term, Revision: m.revision, Floor: m.floor, Time: m.now,
	}}
	for _, t := range s.tables {
		f.sections = append(f.sections, section{Table: t.ID(), Name: t.Name(), Version: t.Version()})
		f.views = append(f.views, t.Freeze())
	}
	return f, nil
}

// Persist writes the snapshot into sink, and cancels it on any error.
func (f *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := f.write(sink); err != nil {
		return errors.Join(fmt.Errorf("cannot write snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("cannot close snapshot %s: %w", sink.ID(), err)
	}
	return nil
}

func (f *snapshot) write(w io.Writer) error {
	out := newFrameWriter(w)
	out.frame(frameHeader, appendHeader(nil, f.header))
	out.frame(frameSection, appendSection(nil, section{Table: SystemTable, Name: systemName, Version: systemVersion}))
	if err := f.system.write(out); err != nil {
		return err
	}
	out.flush()
	for i, v := range f.views {
		out.frame(frameSection, appendSection(nil, f.sections[i]))
		if err := v.Write(out); err != nil {
			return fmt.Errorf("table %q: %w", f.sections[i].Name, err)
		}
		out.flush()
	}
	return out.close()
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
	in, err := openSnapshot(r)
	if err != nil {
		return fmt.Errorf("cannot restore snapshot: %w", err)
	}
	if applied, _ := s.Applied(); in.header.Index <= applied {
		s.logger.Infof("snapshot of log index %d changes nothing: %d is applied", in.header.Index, applied)
		_, err := io.Copy(io.Discard, r)
		return err
	}
	parts, err := s.collect(in)
	if err != nil {
		return fmt.Errorf("cannot restore snapshot of log index %d: %w", in.header.Index, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(in.header, parts); err != nil {
		return fmt.Errorf("cannot restore snapshot of log index %d: %w", in.header.Index, err)
	}
	s.logger.Infof("restored snapshot of log index %d, revision %d", in.header.Index, in.header.Revision)
	s.applied.release(in.header.Index)
	s.revision.release(uint64(in.header.Revision))
	return nil
}

// part is a section with its content.
type part struct {
	section
	chunks [][]byte
}

// collect reads and verifies the whole stream, and whether all of it is known.
func (s *State) collect(in *snapshotReader) ([]part, error) {
	var parts []part
	err := in.read(func(sec section) { parts = append(parts, part{section: sec}) },
		func(b []byte) {
			p := &parts[len(parts)-1]
			p.chunks = append(p.chunks, slices.Clone(b))
		})
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 || parts[0].Table != SystemTable {
		return nil, errors.New("it does not begin with the system section")
	}
	for i, p := range parts {
		name, oldest, version := systemName, uint16(oldestSystem), uint16(systemVersion)
		if i > 0 {
			t := s.tables.find(p.Table)
			if t == nil || p.Table <= parts[i-1].Table {
				return nil, fmt.Errorf("table %d %q is unknown, or is in it twice", p.Table, p.Name)
			}
			name, oldest, version = t.Name(), 0, t.Version()
		}
		if p.Name != name || p.Version < oldest || p.Version > version {
			return nil, fmt.Errorf("table %d is %q in version %d there, and %q in version %d here: run the interrex that wrote it", p.Table, p.Name, p.Version, name, version)
		}
	}
	return parts, nil
}

// replace replaces the content by what was verified.
func (s *State) replace(h header, parts []part) error {
	sys, err := decodeSystem(parts[0].chunks, s.tables)
	if err != nil {
		return fmt.Errorf("the system section: %w", err)
	}
	if sys.identity.ClusterID != h.ClusterID || sys.identity.Epoch != h.Epoch {
		return errors.New("its header and its content belong to different histories")
	}
	if err := s.system.identity.same(sys.identity); err != nil {
		return err
	}
	s.tables.lock()
	defer s.tables.unlock()
	for _, p := range parts[1:] {
		if err := restoreTable(s.tables.find(p.Table), p); err != nil {
			s.halt(h.Index, err)
			return err
		}
	}
	if s.recorder != nil && !slices.ContainsFunc(parts, func(p part) bool { return p.Table == s.recorder.ID() }) {
		s.recorder.Skip(h.Revision)
	}
	sys.records.names.gone += s.system.records.names.gone + 1 // some may be gone now
	s.system = sys
	sys.settings.configure()
	m := moment{index: h.Index, term: h.Term, revision: h.Revision, floor: h.Floor, loss: sys.records.loss, now: h.Time, since: s.clock.Now(), identity: sys.identity}
	m.due, m.hasDue = s.tables.due()
	s.publisher.Reset(h.Revision)
	s.at.Store(&m)
	s.halted.Store(nil)
	return nil
}

func restoreTable(t Table, p part) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("table %q: panic: %v", p.Name, r)
		}
	}()
	if err := t.Restore(p.Version, &chunkReader{p.chunks}); err != nil {
		return fmt.Errorf("table %q: %w", p.Name, err)
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
