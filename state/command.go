package state

import "github.com/interrex/interrex"

// Command is one operation of a table, decoded. Whoever has decoded or made it
// may read it at any time; nobody changes it afterwards. Only its table looks
// further into it than this.
type Command interface {
	// About says what everybody on its way may know of it.
	About() About
	// Validate says, as KindInvalid or KindTooLarge, which field is not
	// allowed, whatever the table holds. It leaves About().Key out, which
	// ParseKey has checked where a request came in, and Table.Decode in the
	// log.
	Validate() error
	// Append appends its encoding for the log, which Table.Decode reads.
	Append(b []byte) []byte
}

// About is what the way to the log, and what guards it, may know of a command
// without looking into it.
type About struct {
	// Name is the operation's, as metrics show it: "claim".
	Name string
	// Key is what the command is about; zero: nothing that has a key.
	Key interrex.Key
	// Lane is where it waits for the log.
	Lane Lane
	// Privileged says that only an operator may do it: a revoke by force.
	Privileged bool
}

// Lane is the line in which an operation waits for the log.
type Lane int

// The lanes. An extend keeps what is held from being lost, so it passes the
// others: see queue.Queue.Take.
const (
	LaneNormal Lane = iota
	LaneExtend
)

// Decode decodes an operation's data for a table, OwnTable among them. The
// error is that of the table, or KindInvalid for a table, and for an operation
// of the state's own, that is not known here.
func (s *State) Decode(table TableID, data []byte) (Command, error) {
	if table == OwnTable {
		return decodeCommand(data)
	}
	t := s.tables.find(table)
	if t == nil {
		return nil, interrex.Errorf(interrex.KindInvalid, "operation: there is no table %d here", table)
	}
	return t.Decode(data)
}
