package machine

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// overloadPause is how long a caller should wait after a limit of names was reached.
const overloadPause = time.Second

// OpenName is the operation that allots a NAME for request ids NAME.N to its caller. It
// takes a revision. Repeated with the same bits it finds the name that it made.
type OpenName struct {
	Bits uint64 // random ones of the opener's, different for each name; never 0
}

// OpenedName is the Reply of OpenName.
type OpenedName struct {
	Name     string
	Revision interrex.Revision // at which it was allotted
}

// About is part of Command.
func (c *OpenName) About() state.About { return state.About{Name: "open_name"} }

// Validate is part of Command.
func (c *OpenName) Validate() error {
	if c.Bits == 0 {
		return interrex.Errorf(interrex.ErrInvalid, "bits: 0 is not allowed: give 64 random bits, new ones for each name")
	}
	return nil
}

// Append is part of Command.
func (c *OpenName) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, commandVersion, commandOpenName), c.Bits)
}

func (c *OpenName) decode(args []byte) error {
	if len(args) != 8 {
		return interrex.Errorf(interrex.ErrInvalid, "open_name: it has %d bytes, not 8", len(args))
	}
	c.Bits = binary.BigEndian.Uint64(args)
	return nil
}

func (c *OpenName) check(sys *system, t *state.Turn, op *state.Operation) error {
	if sys.records.names.all[opener{op.Caller, c.Bits}] != nil {
		return nil
	}
	return sys.records.names.mayOpen(newName(opener{op.Caller, c.Bits}, 0, userOf(op), t.Now))
}

func (c *OpenName) apply(s *State, t *state.Turn, op *state.Operation) (state.Reply, error) {
	all := s.system.records.names
	n := all.all[opener{op.Caller, c.Bits}]
	if n == nil {
		n = newName(opener{strings.Clone(op.Caller), c.Bits}, t.Next(), strings.Clone(userOf(op)), t.Now)
		all.open(n)
	}
	return &OpenedName{Name: n.id().String(), Revision: n.revision}, nil
}
