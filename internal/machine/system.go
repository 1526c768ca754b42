package machine

import (
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The name and the versions of the system's section of a snapshot.
const (
	systemName    = "state"
	systemVersion = 6 // of a state that has restored a snapshot file, or stages one; else 5
	oldestSystem  = 5 // an older one is refused
)

// A system command begins with a version, then one of these numbers, which are
// never reused.
const (
	commandVersion     = 1
	commandSetIdentity = 1
	commandRetire      = 2
	commandSetSettings = 3
	commandRecover     = 4

	commandOpenName     = 5
	commandDropRequests = 6

	commandStage   = 7
	commandRestore = 8
	commandUnstage = 9

	commandCompare = 10
)

// systemCommands are the constructors of the commands, by number.
var systemCommands = [...]func() systemCommand{
	commandSetIdentity: func() systemCommand { return new(SetIdentity) },
	commandRetire:      func() systemCommand { return new(Retire) },
	commandSetSettings: func() systemCommand { return new(SetSettings) },
	commandRecover:     func() systemCommand { return new(Recover) },

	commandOpenName:     func() systemCommand { return new(OpenName) },
	commandDropRequests: func() systemCommand { return new(DropRequests) },

	commandStage:   func() systemCommand { return new(Stage) },
	commandRestore: func() systemCommand { return new(Restore) },
	commandUnstage: func() systemCommand { return new(Unstage) },

	commandCompare: func() systemCommand { return new(Compare) },
}

// systemCommand is an operation on the state itself. It has no record: applying it
// again is harmless.
type systemCommand interface {
	state.Command
	// decode reads what Append wrote after version and number; the error is of kind
	// ErrInvalid.
	decode(args []byte) error
	// check returns why an operation with it cannot be applied now, as an
	// *interrex.Error.
	check(sys *system, t *state.Turn, op *state.Operation) error
	// apply executes a command that check has allowed. A nil Reply: it has none. An error,
	// which is an *interrex.Error, refuses it after all.
	apply(s *State, t *state.Turn, op *state.Operation) (state.Reply, error)
}

// requestLimits are the limits of request ids, which are settings.
type requestLimits struct {
	Window      int           // records of one name above its mark
	Names       int           // names of all callers
	NameRecords int           // their records
	NameBytes   int64         // of both
	NameAge     time.Duration // of cluster time after a name's last write
	Records     int           // records of other request ids
	RecordBytes int64         // of these
	RecordAge   time.Duration // of cluster time after such a record was made
}

// names returns the limits of names and their records.
func (l *requestLimits) names() weight {
	return weight{inNumber: int64(l.Names), inRecords: int64(l.NameRecords), inBytes: l.NameBytes}
}

// singles returns the limits of the records of other ids.
func (l *requestLimits) singles() weight {
	return weight{inNumber: int64(l.Records), inRecords: int64(l.Records), inBytes: l.RecordBytes}
}

// The settings of request ids.
const (
	settingWindow      = "requests.window"
	settingNames       = "requests.names"
	settingNameRecords = "requests.name-records"
	settingNameBytes   = "requests.name-bytes"
	settingNameAge     = "requests.name-age"
	settingRecords     = "requests.records"
	settingRecordBytes = "requests.record-bytes"
	settingRecordAge   = "requests.record-age"
)

// Settings is part of Configurable.
func (l *requestLimits) Settings() []state.Setting {
	return []state.Setting{
		state.IntSetting(settingWindow, "how many answers are kept for one client, a name of request ids, until it acknowledges them", 1024, 1, 65_536),
		state.IntSetting(settingNames, "how many names of request ids are kept, over all callers", 65_536, 1, 1<<20),
		state.IntSetting(settingNameRecords, "how many answers are kept for all names", 1<<20, 1, 1<<24),
		state.IntSetting(settingNameBytes, "bytes of all names and their answers", 256<<20, 64<<10, 16<<30),
		state.DurationSetting(settingNameAge, "how long a name is kept after its last write", 24*time.Hour, time.Minute, 30*24*time.Hour),
		state.IntSetting(settingRecords, "answers kept of request ids without a name", 65_536, 1, 1<<20),
		state.IntSetting(settingRecordBytes, "bytes of the answers of request ids without a name", 64<<20, 64<<10, 16<<30),
		state.DurationSetting(settingRecordAge, "how long an answer of a request id without a name is kept", 10*time.Minute, time.Second, 24*time.Hour),
	}
}

// Configure is part of Configurable.
func (l *requestLimits) Configure(value func(name string) string) {
	*l = requestLimits{
		Window: int(state.SettingInt(value(settingWindow))), Names: int(state.SettingInt(value(settingNames))),
		NameRecords: int(state.SettingInt(value(settingNameRecords))), NameBytes: state.SettingInt(value(settingNameBytes)),
		NameAge: state.SettingDuration(value(settingNameAge)), Records: int(state.SettingInt(value(settingRecords))),
		RecordBytes: state.SettingInt(value(settingRecordBytes)), RecordAge: state.SettingDuration(value(settingRecordAge)),
	}
}

// system is the state apart from its tables.
type system struct {
	identity Identity
	settings *settings
	limits   *requestLimits
	records  *records
	files    *fileLimits
	staging  *staging // nil: there is none
	restored RestoredFile
}

// newSystem returns an empty one, with the settings that the tables declare.
func newSystem(s *settings) *system {
	sys := &system{settings: s, limits: &requestLimits{}, files: &fileLimits{}}
	s.add(sys.limits)
	s.add(sys.files)
	sys.records = newRecords(sys.limits)
	return sys
}

// knownSystemCommand reports whether this build knows the command's version and
// number.
func knownSystemCommand(data []byte) bool {
	return len(data) >= 2 && data[0] == commandVersion &&
		int(data[1]) < len(systemCommands) && systemCommands[data[1]] != nil
}

// decodeSystemCommand decodes a command. The error is of kind ErrInvalid.
func decodeSystemCommand(data []byte) (systemCommand, error) {
	if !knownSystemCommand(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "operation: unknown command of the state itself")
	}
	c := systemCommands[data[1]]()
	err := c.decode(data[2:])
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// systemOperation applies an operation on the state itself, or refuses it.
func (s *State) systemOperation(t *state.Turn, op *state.Operation) state.Result {
	c, err := decodeSystemCommand(op.Data)
	if err == nil {
		err = c.check(s.system, t, op)
	}
	if err != nil {
		return refuse(op, err)
	}
	reply, err := c.apply(s, t, op)
	if err != nil {
		return refuse(op, err)
	}
	return state.Result{Reply: reply, Revision: t.Revision, Attempt: op.Attempt}
}
