package machine

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Unstage is the operation that drops the snapshot file that is being staged. It takes no
// revision.
type Unstage struct {
	File uint64 // 0: any
}

// About is part of Command.
func (c *Unstage) About() state.About {
	return state.About{Name: "unstage", Privileged: true, Spare: true, Since: sinceFiles}
}

// Validate is part of Command.
func (c *Unstage) Validate() error { return nil }

// Append is part of Command.
func (c *Unstage) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, commandVersion, commandUnstage), c.File)
}

func (c *Unstage) decode(args []byte) error {
	if len(args) != 8 {
		return interrex.Errorf(interrex.ErrInvalid, "unstage: it has %d bytes, not 8", len(args))
	}
	c.File = binary.BigEndian.Uint64(args)
	return nil
}

func (c *Unstage) check(sys *system, t *state.Turn, _ *state.Operation) error {
	switch st := sys.staging; {
	case st == nil:
		return interrex.Errorf(interrex.ErrNotFound, "no snapshot is being restored: there is nothing to drop")
	case c.File != 0 && c.File != st.file:
		return errOther(st, t.Now)
	}
	return nil
}

func (c *Unstage) apply(s *State, _ *state.Turn, _ *state.Operation) (state.Reply, error) {
	s.system.unstage()
	return nil, nil
}
