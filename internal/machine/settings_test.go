package machine_test

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// tuned is a register that has settings, and records the values that it is given.
type tuned struct {
	*testtable.Register
	declared []state.Setting
	told     []string
	minted   [][]byte
	recorded [][]state.Event
	revision interrex.Revision
	skipped  interrex.Revision
	at       state.Time
	codec    state.EventCodec
}

func (t *tuned) Settings() []state.Setting { return t.declared }

func (t *tuned) Configure(value func(string) string) {
	t.told = append(t.told, value("register-256.size")+" "+value("requests.window"))
}

func (t *tuned) Apply(turn *state.Turn, c state.Command) state.Reply {
	t.minted = append(t.minted, turn.Minted)
	return t.Register.Apply(turn, c)
}

func (t *tuned) UseCodecs(of func(state.TableID) state.EventCodec) {
	t.codec = of(testtable.RegisterTable)
}

func (t *tuned) Record(now state.Time, last interrex.Revision, events []state.Event) {
	t.at, t.revision = now, last
	t.recorded = append(t.recorded, events)
}

func (t *tuned) Skip(to interrex.Revision) { t.skipped = to }

func (t *tuned) AppendEvent(b []byte, _ any) []byte { return b }

func (t *tuned) DecodeEvent([]byte) (any, error) { return nil, nil }

func newTuned() *tuned {
	return &tuned{Register: testtable.NewRegister(), declared: []state.Setting{
		state.IntSetting("register-256.size", "bytes", 10, 1, 100),
		state.DurationSetting("register-256.age", "how long", 24*time.Hour, time.Second, 48*time.Hour),
	}}
}

func setSettings(values map[string]string) state.Operation {
	return state.Operation{Table: machine.SystemTable, Data: (&machine.SetSettings{Values: values}).Append(nil)}
}

func settingsOf(s *machine.State) map[string]string {
	all := map[string]string{}
	for _, v := range s.Settings() {
		all[v.Name] = v.Value
	}
	return all
}

func TestSettingsAreSetOnEveryTableAndStay(t *testing.T) {
	var last *tuned
	r := testreplica.New(t, func() []state.Table { last = newTuned(); return []state.Table{last} })
	results := r.Do(1, setSettings(map[string]string{"register-256.size": "20", "requests.window": "7", "register-256.age": "90m"}))
	wantKinds(t, results, "")
	if results[0].Revision != 1 {
		t.Errorf("revision %d", results[0].Revision)
	}
	want := map[string]string{
		"register-256.size": "20", "register-256.age": "90m", "requests.window": "7", "requests.names": "65536",
		"requests.name-age": "24h", "requests.records": "65536", "requests.record-age": "10m",
		"requests.name-records": "1048576", "requests.name-bytes": "268435456", "requests.record-bytes": "67108864",
		"snapshots.max-bytes": "2147483648", "snapshots.max-age": "10m",
	}
	for range 2 {
		if got := settingsOf(r.State); !reflect.DeepEqual(got, want) {
			t.Errorf("the settings are %v", got)
		}
		if got := last.told[len(last.told)-1]; got != "20 7" {
			t.Errorf("the table was told %q", last.told)
		}
		r.Restart()
	}
	// A name of request ids is held to it.
	wantKinds(t, r.Do(2, naming(r, "n")("n.8", 1)), interrex.ErrOverloaded)
}

func TestASettingKeepsNothingOfItsEntry(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{newTuned()} })
	entry := (&machine.Entry{Operations: []state.Operation{setSettings(map[string]string{"register-256.size": "20"})}}).Append(nil)
	r.State.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: entry})
	clear(entry)
	if got := settingsOf(r.State)["register-256.size"]; got != "20" {
		t.Errorf("%q, once the entry is overwritten", got)
	}
}

func TestSettingsAreEncodedByName(t *testing.T) {
	values := map[string]string{}
	want := []byte{1, 3, 26}
	for name := 'a'; name <= 'z'; name++ {
		values[string(name)] = "v"
		want = append(want, 1, byte(name), 1, 'v')
	}
	if got := (&machine.SetSettings{Values: values}).Append(nil); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEachLimitOfRequestIDsHasItsSetting(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, setSettings(map[string]string{"requests.names": "2", "requests.records": "1"}))
	wantKinds(t, r.Do(1, opening("ann", "", 1), opening("ann", "", 2), opening("ann", "", 3)), "", "", interrex.ErrOverloaded)
	results := r.Do(1, request("x", "a"), request("y", "a"), request("y", "a"), request("x", "a"))
	if !results[2].Replayed || results[3].Replayed {
		t.Errorf("of two answers, one is to be kept: %+v", results)
	}
}

func TestWhatIsSetAlreadyTakesNoRevision(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{newTuned()} })
	results := r.Do(1, setSettings(map[string]string{"register-256.size": "10"}), setSettings(map[string]string{"register-256.size": "20"}),
		setSettings(map[string]string{"register-256.size": "20"}), setSettings(map[string]string{"register-256.size": ""}), setSettings(map[string]string{"register-256.size": ""}))
	wantKinds(t, results, "", "", "", "", "")
	for i, want := range []interrex.Revision{0, 1, 1, 2, 2} {
		if results[i].Revision != want {
			t.Errorf("operation %d: revision %d, want %d", i, results[i].Revision, want)
		}
	}
	if got := settingsOf(r.State)["register-256.size"]; got != "10" {
		t.Errorf("back at the default: %q", got)
	}
}

func TestASettingThatIsNotAllowedChangesNothing(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{newTuned()} })
	many := map[string]string{}
	for i := range machine.MaxSettings + 1 {
		many[strconv.Itoa(i)] = "1"
	}
	for text, values := range map[string]map[string]string{
		"at once are allowed, not 65":               many,
		"whole numbers from 1 to 100":               {"register-256.size": "101"},
		`not "x"`:                                   {"register-256.size": "x"},
		`not "0"`:                                   {"register-256.size": "0"},
		"1s to 48h are allowed, with":               {"register-256.age": "49h"},
		`not "1ms"`:                                 {"register-256.age": "1ms"},
		`"register-256.sise": unknown`:              {"register-256.sise": "1", "register-256.size": "2"},
		"1 to 64 at once are allowed":               {},
		"a name has at most 64 bytes and a value 4": {"register-256.size": strings.Repeat("1", machine.MaxSettingValue+1)},
	} {
		res := r.Do(1, setSettings(values))[0]
		if kind := interrex.KindOf(res.Err); kind != interrex.ErrInvalid && kind != interrex.ErrTooLarge || !strings.Contains(res.Err.Error(), text) {
			t.Errorf("%v: %v, want %q", values, res.Err, text)
		}
	}
	if r.State.Revision() != 0 || settingsOf(r.State)["register-256.size"] != "10" {
		t.Errorf("revision %d, %v", r.State.Revision(), settingsOf(r.State))
	}
}

func TestSettingsAreDeclaredWell(t *testing.T) {
	for text, s := range map[string]state.Setting{
		`begin with "register-256."`: state.IntSetting("other.size", "", 1, 1, 1),
		"its default is not allowed": state.IntSetting("register-256.size", "", 2, 3, 4),
	} {
		table := newTuned()
		table.declared = []state.Setting{s}
		if _, err := machine.New(machine.Config{Tables: []state.Table{table}}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOnlyAnOperatorSetsSettings(t *testing.T) {
	if !(&machine.SetSettings{}).About().Privileged {
		t.Error("anybody may")
	}
}

func TestWhatIsMintedReachesApplyAndIsNoContent(t *testing.T) {
	table := newTuned()
	r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
	op := state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("a", "b", time.Hour), RequestID: "mine", Minted: []byte("one")}
	again := op
	again.Minted, again.Attempt = []byte("two"), 1
	plain := state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("c", "d", time.Hour)}
	results := r.Do(1, op, again, plain)
	wantKinds(t, results, "", "", "")
	if !results[1].Replayed {
		t.Errorf("the second attempt: %+v", results[1])
	}
	if len(table.minted) != 2 || string(table.minted[0]) != "one" || len(table.minted[1]) != 0 {
		t.Errorf("Apply found %q", table.minted)
	}
	op.Minted = make([]byte, limits.MaxMinted+1)
	if err := op.Validate(); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("too much: %v", err)
	}
}

func TestARecorderGetsAllEventsOfEachEntry(t *testing.T) {
	table := newTuned()
	r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
	if table.codec != state.EventCodec(table) {
		t.Errorf("the codec of its own events: %v", table.codec)
	}
	put := func(key string) state.Operation {
		return state.Operation{Table: testtable.RegisterTable, Data: testtable.Set(key, "v", time.Hour)}
	}
	r.Do(1, put("a"), put("b"))
	r.Do(5)
	if len(table.recorded) != 2 || len(table.recorded[0]) != 2 || table.recorded[0][1].Key != "b" || len(table.recorded[1]) != 0 {
		t.Errorf("recorded: %v", table.recorded)
	}
	if table.revision != 2 || table.at != 5 {
		t.Errorf("at revision %d, time %d", table.revision, table.at)
	}
}

// late is a recorder that a cluster has only got with a new version.
type late struct{ *tuned }

func (late) ID() state.TableID { return testtable.RegisterTable + 1 }
func (late) Name() string      { return "late" }

func TestARecorderHearsWhatASnapshotDoesNotHaveForIt(t *testing.T) {
	before := testreplica.New(t, register)
	before.Do(1, set("a", "1"), set("b", "1"))
	table := late{newTuned()}
	table.declared = nil
	with := func() []state.Table { return []state.Table{testtable.NewRegister(), table} }
	if err := testreplica.New(t, with).Restore(before.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if table.skipped != 2 {
		t.Errorf("it was told to skip to revision %d, want 2", table.skipped)
	}
	table.skipped = 0
	own := testreplica.New(t, with)
	own.Do(1, set("a", "1"))
	if err := testreplica.New(t, with).Restore(own.Snapshot()); err != nil || table.skipped != 0 {
		t.Errorf("a snapshot with its own section: skipped to %d, %v", table.skipped, err)
	}
}
