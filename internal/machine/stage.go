package machine

import (
	"encoding/binary"
	"errors"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// Stage is the operation that adds one part to the snapshot file that is to be restored.
// Parts come in order; the first one begins the file. A part that is there already
// changes nothing. It takes no revision. Its
// Reply is the StagedFile.
type Stage struct {
	File   uint64 // random, of the caller's choice; never 0
	Offset int64
	Data   []byte
	Reads  []byte // State.Reads of the leader, in the first part only
}

// sinceFiles is the version of entries from which on the log has Stage, Restore and
// Unstage.
const sinceFiles = 4

// About is part of Command.
func (c *Stage) About() state.About {
	return state.About{Name: "stage", Privileged: true, Since: sinceFiles}
}

// Validate is part of Command.
func (c *Stage) Validate() error {
	switch n := len(c.Data); {
	case c.File == 0:
		return errFileID()
	case c.Offset < 0:
		return interrex.Errorf(interrex.ErrInvalid, "offset: %d is not valid: give how many bytes precede the part", c.Offset)
	case n == 0:
		return interrex.Errorf(interrex.ErrInvalid, "data: a part of a file has 1 to %d bytes, not 0", limits.MaxFilePart)
	case n > limits.MaxFilePart:
		return interrex.Errorf(interrex.ErrTooLarge, "data: a part of a file has at most %d bytes, not %d", limits.MaxFilePart, n)
	case (c.Offset == 0) != (len(c.Reads) > 0):
		return interrex.Errorf(interrex.ErrInvalid, "stage: the first part, and no other, has what the leader can read")
	}
	return nil
}

func errFileID() error {
	return interrex.Errorf(interrex.ErrInvalid, "file: 0 is not valid: give 64 random bits, the same ones with each part")
}

// Append is part of Command.
func (c *Stage) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, commandVersion, commandStage), c.File)
	b = binary.AppendUvarint(b, uint64(c.Offset))
	if c.Offset == 0 {
		b = append(b, c.Reads...)
	}
	return append(b, c.Data...)
}

func (c *Stage) decode(args []byte) error {
	d := decoder{b: args}
	c.File, c.Offset = d.uint64(), int64(d.small(1<<62))
	if c.Offset == 0 {
		first := d.b
		d.reads()
		c.Reads = first[:len(first)-len(d.b)]
	}
	c.Data = d.b
	if d.err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "stage: %v", d.err)
	}
	return nil
}

func (c *Stage) check(sys *system, t *state.Turn, _ *state.Operation) error {
	st := sys.staging
	switch {
	case sys.restored.File == c.File:
		return interrex.Errorf(interrex.ErrConflict, "cannot stage file %016x: it was restored at revision %d", c.File, sys.restored.To)
	case st != nil && st.file != c.File:
		return errOther(st, t.Now)
	case st == nil && c.Offset > 0:
		return errNothing(c.File)
	case st != nil && c.Offset != st.size && !st.has(c.Offset, c.Data):
		return interrex.Errorf(interrex.ErrConflict, "cannot stage a part of file %016x at offset %d: continue at offset %d", c.File, c.Offset, st.size)
	}
	if end := c.Offset + int64(len(c.Data)); end > sys.files.bytes {
		return interrex.Errorf(interrex.ErrTooLarge, "cannot stage a file of %d bytes or more: %s allows %d: raise it", end, settingFileBytes, sys.files.bytes)
	}
	return nil
}

func (c *Stage) apply(s *State, t *state.Turn, op *state.Operation) (state.Reply, error) {
	sys := s.system
	if sys.staging == nil {
		d := decoder{b: c.Reads}
		sys.stage(c.File, op.Caller, d.reads(), s.tables).began = t.Now
	}
	st := sys.staging
	if c.Offset < st.size {
		return sys.stagedFile(), nil
	}
	st.last = t.Now
	if err := st.add(c.Data); err != nil {
		sys.unstage()
		return nil, errFile(err)
	}
	return sys.stagedFile(), nil
}

// errFile is the refusal of a file, or why this replica must halt.
func errFile(err error) error {
	if u := (unable{}); errors.As(err, &u) {
		return u
	}
	return interrex.Errorf(interrex.ErrInvalid, "cannot restore the file: %v; what was staged of it is dropped", err)
}

func errOther(st *staging, now state.Time) error {
	return interrex.Errorf(interrex.ErrConflict, "another snapshot is being restored: %s: wait until it is done, or drop it with 'interrex snapshot drop'", st.describe(now))
}

func errNothing(file uint64) error {
	return interrex.Errorf(interrex.ErrConflict, "nothing of file %016x is staged: it was dropped, or never begun: begin again at offset 0", file)
}
