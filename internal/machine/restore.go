package machine

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Restore is the operation that puts a staged snapshot file in place: settings, and the
// tables whose content a restore replaces. Leases, members, access tokens, names and
// records of request ids stay, and cluster time goes on. It raises the revision past
// both its own and the file's, and ends the history before it. Done again it changes
// nothing. Its Reply is the RestoredFile.
type Restore struct {
	File     uint64
	Bytes    int64
	Checksum uint32 // CRC32C of the file
}

// About is part of Command.
func (c *Restore) About() state.About {
	return state.About{Name: "restore", Privileged: true, Since: sinceFiles}
}

// Validate is part of Command.
func (c *Restore) Validate() error {
	if c.File == 0 {
		return errFileID()
	}
	return nil
}

// Append is part of Command.
func (c *Restore) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, commandVersion, commandRestore), c.File)
	b = binary.AppendUvarint(b, uint64(c.Bytes))
	return binary.BigEndian.AppendUint32(b, c.Checksum)
}

func (c *Restore) decode(args []byte) error {
	d := decoder{b: args}
	c.File, c.Bytes = d.uint64(), int64(d.small(1<<62))
	if d.err != nil || len(d.b) != 4 {
		return interrex.Errorf(interrex.ErrInvalid, "restore: it is malformed")
	}
	c.Checksum = binary.BigEndian.Uint32(d.b)
	return nil
}

func (c *Restore) check(sys *system, t *state.Turn, _ *state.Operation) error {
	switch st := sys.staging; {
	case sys.restored.File == c.File:
		return nil
	case st == nil:
		return errNothing(c.File)
	case st.file != c.File:
		return errOther(st, t.Now)
	case st.size != c.Bytes || st.checksum != c.Checksum:
		return interrex.Errorf(interrex.ErrConflict, "cannot restore file %016x: %d bytes with checksum %08x are staged, not %d with %08x: continue, or drop it and begin again", c.File, st.size, st.checksum, c.Bytes, c.Checksum)
	}
	return nil
}

func (c *Restore) apply(s *State, t *state.Turn, _ *state.Operation) (state.Reply, error) {
	sys := s.system
	if sys.restored.File == c.File {
		return sys.restored, nil
	}
	defer sys.unstage()
	file, err := sys.staging.intake.finish()
	if err != nil {
		return nil, errFile(err)
	}
	to := max(t.Revision, file.header.Revision) + 1
	if to >= maxRevision {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot restore the file: its revision %d is not valid", file.header.Revision)
	}
	before := t.Revision
	t.Revision = to
	if err := file.adopt(s, t); err != nil {
		t.Revision = before
		return nil, err
	}
	sys.restored = RestoredFile{File: c.File, From: file.header.Revision, To: to}
	t.Begin(t.Revision, t.Now, t.Wall) // the history before has ended
	return sys.restored, nil
}
