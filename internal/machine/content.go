package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/state"
)

// Replacer is an optional interface of a table whose content a restore replaces in no
// time: it is read while the file arrives. The section of a table without it is kept as
// bytes until then, and passed to Restore.
type Replacer interface {
	// Stage reads what a View of the given version wrote, up to the end of r, and
	// changes nothing of the table. The result belongs to one Replace at most.
	Stage(version uint16, r io.Reader) (staged any, err error)
	// Replace replaces the table by the result of Stage. saved is the cluster time at
	// which the file was made, by the clock of its cluster: what has an age keeps the
	// age that it had then. It must be quick, and emits no events: the history before
	// it has ended.
	Replace(t *state.Turn, staged any, saved state.Time)
}

// reads is what a build can read of a snapshot file. The first part of a file carries
// that of the leader, so that all agents refuse the same files; one that can read less
// than the leader stops.
type reads struct {
	versions map[state.TableID]uint16 // of the sections, and the system's
	settings []string                 // by name
}

// Reads returns what this build can read, encoded: see Stage.
func (s *State) Reads() []byte {
	r := reads{versions: map[state.TableID]uint16{SystemTable: systemVersion}}
	for _, t := range s.tables {
		r.versions[t.ID()] = t.Version()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r.settings = s.system.settings.names()
	return r.append(nil)
}

func (r reads) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.versions)))
	for _, id := range slices.Sorted(maps.Keys(r.versions)) {
		b = binary.AppendUvarint(b, uint64(id))
		b = binary.AppendUvarint(b, uint64(r.versions[id]))
	}
	b = binary.AppendUvarint(b, uint64(len(r.settings)))
	for _, name := range r.settings {
		b = appendBytes(b, name)
	}
	return b
}

// can reads and copies what append has written.
func (d *decoder) reads() reads {
	r := reads{versions: map[state.TableID]uint16{}}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		id := state.TableID(d.small(1<<16 - 1))
		r.versions[id] = uint16(d.small(1<<16 - 1))
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		r.settings = append(r.settings, strings.Clone(d.text()))
	}
	return r
}

// content is what a file has for a restore.
type content struct {
	header   snapfile.Header
	settings map[string]string
	tables   []stagedTable
}

// stagedTable is the section of one table.
type stagedTable struct {
	table   state.Table
	version uint16
	staged  any    // of a Replacer
	bytes   []byte // of another table
}

// unable is why this build cannot read a file that the leader's can: the replica halts.
type unable struct{ error }

// stays reports whether a table keeps its content in a restore: who holds what, who
// belongs to the cluster, and who may do what.
func stays(id state.TableID) bool { return id == LeaseTable || id == MemberTable || id == AccessTable }

// readContent reads a whole file.
func readContent(r io.Reader, can reads, tables tableSet, set *settings) (*content, error) {
	in, err := snapfile.Open(r)
	if err != nil {
		return nil, err
	}
	c := &content{header: in.Header}
	last := -1
	for {
		sec, err := in.Next()
		switch {
		case err == io.EOF && last < 0:
			return nil, errNoSystem
		case err == io.EOF:
			return c, nil
		case err != nil:
			return nil, err
		case last < 0 && (sec.Table != uint16(SystemTable) || sec.Name != systemName):
			return nil, errNoSystem
		case isStaged(sec, last):
			continue
		case int(sec.Table) <= last:
			return nil, fmt.Errorf("table %d %q is in it twice, or in the wrong place", sec.Table, sec.Name)
		}
		last = int(sec.Table)
		if err := c.take(sec, in, can, tables, set); err != nil {
			return nil, err
		}
	}
}

// take reads one section.
func (c *content) take(sec snapfile.Section, in *snapfile.Reader, can reads, tables tableSet, set *settings) error {
	id := state.TableID(sec.Table)
	if stays(id) {
		return nil
	}
	t, name, oldest, newest := tables.find(id), systemName, uint16(oldestSystem), uint16(systemVersion)
	if id != SystemTable {
		if t == nil || t.Name() != sec.Name {
			return fmt.Errorf("it has a table %d %q, which these agents do not have: restore it into agents with the same tables", sec.Table, sec.Name)
		}
		name, oldest, newest = t.Name(), 0, t.Version()
	}
	switch readable := can.versions[id]; {
	case sec.Version < oldest || sec.Version > readable:
		return fmt.Errorf("its table %q has version %d, which these agents cannot read: bring them to the version that wrote it", name, sec.Version)
	case sec.Version > newest:
		return unable{fmt.Errorf("a file that is to be restored has table %q in version %d, and this build reads version %d", name, sec.Version, newest)}
	case id == SystemTable:
		return c.readSettings(in, can, set)
	}
	return c.stage(stagedTable{table: t, version: sec.Version}, in)
}

// maxHead is more than the bytes of identity and settings.
const maxHead = 1 << 20

// readSettings reads the beginning of the system section.
func (c *content) readSettings(in io.Reader, can reads, set *settings) error {
	head, err := io.ReadAll(io.LimitReader(in, maxHead))
	if err != nil {
		return err
	}
	d := decoder{b: head}
	id := d.identity()
	c.settings = d.texts()
	if d.err != nil {
		return fmt.Errorf("its system section is malformed: %w", d.err)
	}
	if id.ClusterID != c.header.ClusterID || id.Epoch != c.header.Epoch {
		return errors.New("its header and its content belong to different histories")
	}
	for _, name := range slices.Sorted(maps.Keys(c.settings)) {
		_, known := set.find(name)
		switch {
		case !slices.Contains(can.settings, name):
			return fmt.Errorf("it has a setting %q, which these agents do not know: bring them to the version that wrote it", name)
		case !known:
			return unable{fmt.Errorf("a file that is to be restored has the setting %q, which this build does not know", name)}
		}
		if err := set.check(name, c.settings[name]); err != nil {
			return fmt.Errorf("its setting %w", err)
		}
	}
	return nil
}

// stage reads the section of a table.
func (c *content) stage(st stagedTable, in *snapfile.Reader) (err error) {
	if r, is := st.table.(Replacer); is {
		st.staged, err = r.Stage(st.version, in)
	} else {
		st.bytes, err = io.ReadAll(in)
	}
	if err != nil {
		return fmt.Errorf("its table %q: %w", st.table.Name(), err)
	}
	c.tables = append(c.tables, st)
	return nil
}

// adopt replaces the settings, and the tables that the content has, at the turn's
// revision. On an error everything is as it was.
func (c *content) adopt(s *State, t *state.Turn) error {
	if err := c.restoreOthers(); err != nil {
		return err
	}
	sys := s.system
	sys.settings.set = c.settings
	sys.settings.configure()
	for _, st := range c.tables {
		if r, is := st.table.(Replacer); is {
			t.Table = st.table.ID()
			r.Replace(t, st.staged, state.Time(c.header.Time))
		}
	}
	return nil
}

// restoreOthers restores the tables that are not Replacers: all, or none.
func (c *content) restoreOthers() error {
	var were []stagedTable
	for _, st := range c.tables {
		if _, is := st.table.(Replacer); is {
			continue
		}
		was, err := written(st.table)
		if err == nil {
			were = append(were, was)
			err = st.restore()
		}
		if err != nil {
			for _, was := range were {
				if back := was.restore(); back != nil {
					return unable{fmt.Errorf("table %q cannot be put back after a restore has failed: %w", was.table.Name(), back)}
				}
			}
			return interrex.Errorf(interrex.ErrInvalid, "cannot restore the file: its table %q: %v", st.table.Name(), err)
		}
	}
	return nil
}

// written is the section that a table has now.
func written(t state.Table) (stagedTable, error) {
	var now bytes.Buffer
	v := t.Freeze()
	defer v.Release()
	err := v.Write(&now)
	return stagedTable{table: t, version: t.Version(), bytes: now.Bytes()}, err
}

// restore passes a section to its table. One that panics may be half restored.
func (st stagedTable) restore() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot read its section, and panicked: %v", p)
		}
	}()
	return st.table.Restore(st.version, bytes.NewReader(st.bytes))
}
