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
	ownVersion = 3
	oldestOwn  = 3 // an older one is refused
)

// The state's own operations begin with a version, then one of these, which
// are never reused.
const (
	commandVersion     = 1
	commandSetIdentity = 1
	commandRetire      = 2
	commandSetSettings = 3
)

// ownCommands are the state's own operations by number.
var ownCommands = [...]func() ownCommand{
	commandSetIdentity: func() ownCommand { return new(SetIdentity) },
	commandRetire:      func() ownCommand { return new(Retire) },
	commandSetSettings: func() ownCommand { return new(SetSettings) },
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

// limits are the limits of request ids, which are settings.
type limits struct {
	Window    int           // records of one name above its mark
	Names     int           // names of all callers
	NameAge   time.Duration // of cluster time after a name's last write
	Records   int           // records of other request ids
	RecordAge time.Duration // of cluster time after such a record was made
}

// The settings of request ids.
const (
	settingWindow    = "requests.window"
	settingNames     = "requests.names"
	settingNameAge   = "requests.name-age"
	settingRecords   = "requests.records"
	settingRecordAge = "requests.record-age"
)

// Settings is part of Configurable.
func (l *limits) Settings() []Setting {
	return []Setting{
		IntSetting(settingWindow, "answers kept above the mark of one name of request ids", 1024, 1, 65_536),
		IntSetting(settingNames, "names of request ids, of all callers", 65_536, 1, 1<<20),
		DurationSetting(settingNameAge, "how long a name is kept after its last write", 24*time.Hour, time.Minute, 30*24*time.Hour),
		IntSetting(settingRecords, "answers kept of request ids without a name", 65_536, 1, 1<<20),
		DurationSetting(settingRecordAge, "how long an answer of a request id without a name is kept", 10*time.Minute, time.Second, 24*time.Hour),
	}
}

// Configure is part of Configurable.
func (l *limits) Configure(value func(name string) string) {
	*l = limits{
		Window: int(SettingInt(value(settingWindow))), Names: int(SettingInt(value(settingNames))),
		NameAge: SettingDuration(value(settingNameAge)), Records: int(SettingInt(value(settingRecords))),
		RecordAge: SettingDuration(value(settingRecordAge)),
	}
}

// own is the state's own section.
type own struct {
	identity Identity
	settings *settings
	limits   *limits
	records  *records
}

// newOwn makes an empty section with the settings that tables have declared.
func newOwn(s *settings) *own {
	o := &own{settings: s, limits: &limits{}}
	s.add(o.limits)
	o.records = newRecords(o.limits)
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
