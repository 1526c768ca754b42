package state

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/validation"
)

// Operation is one command to one table, or a group of commands, in the envelope
// that every table shares.
type Operation struct {
	Table  TableID
	Caller string // the authenticated name; empty on an open API
	// Origin is the address from which a caller without a name has sent it: names and
	// records of request ids count in its share. It never finds a record.
	Origin    string
	RequestID string // empty: no record is kept
	Attempt   uint32
	// Mark, for a RequestID of the form NAME.N: every request of NAME below it
	// has been answered, or given up by its caller.
	Mark uint64
	// Since, for another RequestID, is a revision that its caller knew before its first
	// attempt; 0: it does not say.
	Since interrex.Revision

	Fence interrex.Fence
	Data  []byte // the command, in the table's encoding
	// Minted was generated for the operation when the leader accepted it: see
	// Minter. It is not part of the content that a request id identifies: a
	// repeated attempt brings another, and gets the recorded reply. At most
	// 64 bytes.
	Minted []byte
	// Group makes it a group: several commands, applied atomically, under this
	// envelope. Then Table, Data and Minted are empty.
	Group []Part
}

// Part is one operation of a group, without an envelope.
type Part struct {
	Table  TableID
	Data   []byte
	Minted []byte
}

// Count returns the number of commands in the operation.
func (o *Operation) Count() int { return max(1, len(o.Group)) }

// Size returns an upper bound of the operation's bytes in an entry.
func (o *Operation) Size() int {
	const numbers = 64     // kind, flags, and every number and length at its longest
	const partNumbers = 16 // those of one operation of a group
	size := numbers + len(o.Caller) + len(o.Origin) + len(o.RequestID) + len(o.Fence.Key.Namespace) + len(o.Fence.Key.Name) + len(o.Data) + len(o.Minted)
	for i := range o.Group {
		size += partNumbers + len(o.Group[i].Data) + len(o.Group[i].Minted)
	}
	return size
}

// Validate returns, as ErrInvalid or ErrTooLarge, why the operation must not be
// proposed. A valid operation fits into an entry.
func (o *Operation) Validate() error {
	if len(o.Caller) > limits.MaxCaller {
		return interrex.Errorf(interrex.ErrInvalid, "caller: at most %d bytes are allowed, not %d", limits.MaxCaller, len(o.Caller))
	}
	if len(o.Origin) > limits.MaxOrigin {
		return interrex.Errorf(interrex.ErrInvalid, "origin: at most %d bytes are allowed, not %d", limits.MaxOrigin, len(o.Origin))
	}
	if err := validMinted(o.Minted); err != nil {
		return err
	}
	if len(o.Group) > 0 {
		if err := o.validateGroup(); err != nil {
			return err
		}
	}
	if err := validation.RequestID(o.RequestID); err != nil {
		return err
	}
	if o.Size() > limits.MaxOperationBytes {
		return interrex.Errorf(interrex.ErrTooLarge, "operation: at most %d bytes are allowed, not %d", limits.MaxOperationBytes, o.Size())
	}
	return o.Fence.Validate()
}

func validMinted(b []byte) error {
	if len(b) > limits.MaxMinted {
		return interrex.Errorf(interrex.ErrInvalid, "minted: at most %d bytes are allowed, not %d", limits.MaxMinted, len(b))
	}
	return nil
}

// stateItself is the ID under which the state's own operations go.
const stateItself TableID = 0

// validateGroup is the part of Validate for a group.
func (o *Operation) validateGroup() error {
	if len(o.Group) > limits.MaxGroup {
		return errGroupSize(len(o.Group))
	}
	if o.Table != stateItself || len(o.Data)+len(o.Minted) > 0 {
		return interrex.Errorf(interrex.ErrInvalid, "operation: a group must not have its own command")
	}
	for i := range o.Group {
		p := &o.Group[i]
		if p.Table == stateItself {
			return validation.InGroup(i, interrex.Errorf(interrex.ErrInvalid, "system operations cannot be grouped"))
		}
		if err := validMinted(p.Minted); err != nil {
			return validation.InGroup(i, err)
		}
	}
	return nil
}

func errGroupSize(n int) error {
	return interrex.Errorf(interrex.ErrInvalid, "operations: a group has 1 to %d, not %d", limits.MaxGroup, n)
}

// Result is the result of one operation.
type Result struct {
	Reply    Reply             // of a group one for each operation, which only interrex reads
	Revision interrex.Revision // of the change, of a group's last; of a refusal: where it was refused
	Attempt  uint32            // the attempt that the answer names
	Replayed bool              // an earlier attempt did it
	Err      error             // a refusal, an *interrex.Error
}
