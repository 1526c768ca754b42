package state

import (
	"io"

	"github.com/interrex/interrex"
)

// Command is one decoded operation of a table. It must be immutable. Only its
// table uses more of it than this interface.
type Command interface {
	// About returns what code outside the table may know about it.
	About() About
	// Validate checks the fields, regardless of the table's content; the error is
	// ErrInvalid or ErrTooLarge. It does not check About().Key: ParseKey has done
	// so for a request, and Table.Decode does for the log.
	Validate() error
	// Append appends its encoding for the log, which Table.Decode reads.
	Append(b []byte) []byte
}

// Minter is an optional interface of a Command. Mint generates what Apply must
// not generate, such as random bits: once, when the leader accepts the operation.
// Apply finds it in Turn.Minted. It has at most 64 bytes.
type Minter interface {
	Mint(random io.Reader) ([]byte, error)
}

// Announcer is an optional interface of a Command: webhooks may be called before
// it enters the log. A command without it is never sent to a webhook, nor is one
// that announces no kinds.
type Announcer interface {
	Announce() Announcement
}

// Announcement describes the events that a command may publish.
type Announcement struct {
	Kinds []string // of event; first that which the command requests
	Key   string   // of the events
	// Prefix reports that the events are of all keys that begin with Key.
	Prefix bool
}

// About is what the code between a caller and the log may know of a command
// without looking into it.
type About struct {
	// Name is the operation's name in metrics: "claim".
	Name string
	// Key is the key that the command is about; zero: none.
	Key interrex.Key
	// Holder is the holder in whose name it acts; empty: none. It distinguishes request
	// ids that have no name.
	Holder string
	// Extend reports whether it keeps something from being lost, as the extend of a lease
	// does: it passes the others on its way to the log, see queue.Queue.Take.
	Extend bool
	// Spare reports whether it is let in while almost no disk space is left, as extends
	// are: it is small, and a cluster that is full needs it.
	Spare bool
	// Privileged reports whether it is for operators only, such as a forced revoke.
	Privileged bool
	// Since is the first version of the table that can apply it. While a member has an
	// earlier one the leader refuses it, and says which. 0: all can.
	Since uint16
}
