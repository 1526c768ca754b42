package state

import (
	"time"

	"github.com/interrex/interrex"
)

// OwnTable is where the state's own operations go.
const OwnTable TableID = 0

// The names under which the state's own section stands in a snapshot.
const (
	ownName    = "state"
	ownVersion = 1
)

// The state's own operations begin with a version, then one of these, which
// are never reused.
const (
	commandVersion     = 1
	commandSetIdentity = 1
	commandRetire      = 2
)

// ownCommands are the state's own operations by number.
var ownCommands = [...]func() ownCommand{
	commandSetIdentity: func() ownCommand { return new(SetIdentity) },
	commandRetire:      func() ownCommand { return new(Retire) },
}

// ownCommand is one of the state's own operations. No record of it is kept:
// doing one again is harmless.
type ownCommand interface {
	Command
	// decode reads what Append wrote behind version and number; the error is of
	// kind KindInvalid.
	decode(args []byte) error
	// check returns why it cannot be done now, as an *interrex.Error.
	check(o *own) error
	// apply does what check has allowed, for a caller.
	apply(o *own, t *Turn, caller string)
}

// Settings are what Apply needs to know beside the state's content. They are
// replicated: every agent has the same.
type Settings struct {
	Window    int           // records of one name above its mark
	Names     int           // names of all callers
	NameAge   time.Duration // of cluster time after a name's last write
	Records   int           // records of other request ids
	RecordAge time.Duration // of cluster time after such a record was made
}

// defaultSettings are those of a new cluster.
func defaultSettings() Settings {
	return Settings{
		Window: 1024, Names: 65536, NameAge: 24 * time.Hour,
		Records: 65536, RecordAge: 10 * time.Minute,
	}
}

// own is the state's own section.
type own struct {
	identity Identity
	settings Settings
	records  *records
}

func newOwn() *own {
	o := &own{settings: defaultSettings()}
	o.records = newRecords(&o.settings)
	return o
}

// ownKnown reports whether this build knows the own operation's version and
// number.
func ownKnown(data []byte) bool {
	return len(data) >= 2 && data[0] == commandVersion &&
		int(data[1]) < len(ownCommands) && ownCommands[data[1]] != nil
}

// decodeCommand decodes one own operation. The error is of kind KindInvalid.
func decodeCommand(data []byte) (ownCommand, error) {
	if !ownKnown(data) {
		return nil, interrex.Errorf(interrex.KindInvalid, "operation: unknown command of the state's own")
	}
	c := ownCommands[data[1]]()
	err := c.decode(data[2:])
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// apply does one of the state's own operations, or refuses it.
func (o *own) apply(t *Turn, op *Operation) Result {
	c, err := decodeCommand(op.Data)
	if err == nil {
		err = c.check(o)
	}
	if err != nil {
		return refuse(op, err)
	}
	c.apply(o, t, op.Caller)
	return Result{Revision: t.Revision, Attempt: op.Attempt}
}
