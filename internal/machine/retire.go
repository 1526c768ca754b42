package machine

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// Retire is the operation with which a caller returns a NAME of its request ids, under
// which no request is executed any more. It takes no revision, and a name that is not the
// caller's is not an error.
type Retire struct {
	Name string
	// Mark is the last mark of the name: its caller has the answers of all requests
	// below it. Records at or above it may yet be asked for.
	Mark uint64
}

// About is part of Command.
func (c *Retire) About() state.About { return state.About{Name: "retire", Spare: true} }

// Validate is part of Command.
func (c *Retire) Validate() error {
	if len(c.Name) > limits.MaxRequestID || parseNameID(c.Name) == (nameID{}) {
		return interrex.Errorf(interrex.ErrInvalid, "name: %.80q is not the name of request ids: give one that OpenName has returned", c.Name)
	}
	return nil
}

// Append is part of Command.
func (c *Retire) Append(b []byte) []byte {
	return append(binary.AppendUvarint(append(b, commandVersion, commandRetire), c.Mark), c.Name...)
}

func (c *Retire) decode(args []byte) error {
	mark, n := binary.Uvarint(args)
	if n <= 0 {
		return interrex.Errorf(interrex.ErrInvalid, "retire: it has a malformed mark")
	}
	c.Mark, c.Name = mark, string(args[n:])
	return nil
}

func (c *Retire) check(*system, *state.Turn, *state.Operation) error { return nil }

func (c *Retire) apply(s *State, _ *state.Turn, op *state.Operation) (state.Reply, error) {
	all := s.system.records.names
	if n := all.find(op.Caller, parseNameID(c.Name)); n != nil {
		n = all.writable(n)
		all.raise(n, c.Mark)
		all.drop(n)
	}
	return nil, nil
}
