package machine_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// restorable are tables that are replaced in each of the ways, and one that stays.
func restorable() []state.Table {
	return []state.Table{lease.New(), resource.New(), change.New(), webhook.New(), testtable.NewRegister()}
}

const theFile = 0xf11e

func stageOperation(r *testreplica.Replica, file uint64, offset int, data []byte) state.Operation {
	c := &machine.Stage{File: file, Offset: int64(offset), Data: data}
	if offset == 0 {
		c.Reads = r.State.Reads()
	}
	op := systemOperation(c)
	op.Caller = "ann"
	return op
}

func restoreOperation(file uint64, b []byte) state.Operation {
	return systemOperation(&machine.Restore{File: file, Bytes: int64(len(b)), Checksum: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))})
}

func unstage(file uint64) state.Operation { return systemOperation(&machine.Unstage{File: file}) }

// stageAll stages a file in parts, and returns the error of the first that is refused.
func stageAll(r *testreplica.Replica, file uint64, b []byte, size int) error {
	for at := 0; at < len(b); at += size {
		if res := r.Do(r.State.Now(), stageOperation(r, file, at, b[at:min(at+size, len(b))])); len(res) != 1 || res[0].Err != nil {
			if len(res) != 1 {
				return fmt.Errorf("halted: %w", r.State.Halted())
			}
			return res[0].Err
		}
	}
	return nil
}

func write(name, text string, owner *interrex.Fence) state.Operation {
	id := interrex.ResourceID{Type: interrex.ResourceType{Group: "g", GroupVersion: "v1", Kind: "K"}, Tenancy: interrex.Tenancy{Partition: "default", Namespace: "default"}, Name: name, UID: "u"}
	c := &resource.Write{ID: id, Data: interrex.ResourceData{TypeURL: "t", Value: []byte(text)}, OwnerLease: owner}
	return state.Operation{Table: machine.ResourceTable, Data: c.Append(nil)}
}

func appendUser(data string) state.Operation {
	return state.Operation{Table: machine.ChangeTable, Data: (&change.Append{Data: data}).Append(nil)}
}

// filled is a replica with something of everything, and its snapshot.
func filled(t *testing.T, clusterID string) (*testreplica.Replica, []byte) {
	t.Helper()
	r := testreplica.New(t, restorable)
	results := r.Do(state.Time(time.Second), setIdentity(identity(clusterID)), claim("live-"+clusterID, time.Hour), set("a", "1"),
		setSettings(map[string]string{"requests.window": "7"}))
	token := results[1].Reply.(*lease.Reply).Lease.Token
	wantKinds(t, r.Do(state.Time(2*time.Second),
		write("plain", "one", nil), write("present", "two", &interrex.Fence{Key: interrex.Key{Namespace: "default", Name: "live-" + clusterID}, Token: token}),
		appendUser(`{"n":1}`)), "", "", "")
	return r, r.Snapshot()
}

// section returns the content of a section of a snapshot.
func sectionOf(t *testing.T, snapshot []byte, name string) string {
	t.Helper()
	_, sections, contents := machine.Unframe(snapshot)
	for i, s := range sections {
		if s.Name == name {
			return string(contents[i])
		}
	}
	return ""
}

func TestARestoreBringsBackWhatTheFileHasAndLeavesLeases(t *testing.T) {
	r, file := filled(t, cluster)
	now := state.Time(time.Minute)
	r.Do(now, write("plain2", "late", nil), set("a", "2"), set("b", "2"), claim("other", time.Hour), appendUser(`{"n":2}`), setSettings(map[string]string{"requests.window": "9"}))
	before, leases := r.State.Revision(), sectionOf(t, r.Snapshot(), "leases")
	if err := stageAll(r, theFile, file, 100); err != nil {
		t.Fatal(err)
	}
	if r.State.Revision() != before {
		t.Error("staging has taken a revision")
	}
	wantKinds(t, r.Do(now, restoreOperation(theFile, file)), "")
	if got := r.State.Revision(); got != before+1 {
		t.Errorf("revision %d, want %d", got, before+1)
	}
	after := r.Snapshot()
	for _, name := range []string{"resources", "webhooks", "register-256"} {
		if sectionOf(t, after, name) != sectionOf(t, file, name) {
			t.Errorf("%s are not those of the file", name)
		}
	}
	if sectionOf(t, after, "leases") != leases {
		t.Error("the leases have changed")
	}
	if settingsOf(r.State)["requests.window"] != "7" || r.State.Now() != now || r.State.Identity().ClusterID != cluster {
		t.Errorf("settings %v, time %d, %+v", settingsOf(r.State), r.State.Now(), r.State.Identity())
	}
	if r.Ended != before+1 || r.Last != before+1 {
		t.Errorf("the history was ended at %d, and goes on after %d", r.Ended, r.Last)
	}
	if _, staged := r.State.Staged(); staged {
		t.Error("the file is still staged")
	}
	// Done again, also after a restart, it changes nothing, and is answered the same.
	for range 2 {
		res := r.Do(now, restoreOperation(theFile, file))
		wantKinds(t, res, "")
		if res[0].Reply.(machine.RestoredFile).To != before+1 || !bytes.Equal(r.Snapshot(), after) && sectionOf(t, r.Snapshot(), "resources") != sectionOf(t, after, "resources") {
			t.Errorf("done again: %+v", res[0])
		}
		wantKinds(t, r.Do(now, stageOperation(r, theFile, 0, file[:10])), interrex.ErrConflict)
		r.Restart()
	}
	h, _, _ := machine.Unframe(file)
	if want := (machine.RestoredFile{File: theFile, From: h.Revision, To: before + 1}); r.State.Restored() != want {
		t.Errorf("%+v, want %+v", r.State.Restored(), want)
	}
}

func TestAFileOfAnotherClusterRaisesTheRevisionPastItsOwn(t *testing.T) {
	big, _ := filled(t, elsewhere)
	for i := range 50 {
		big.Do(state.Time(time.Hour), set("a", fmt.Sprint(i)), appendUser(`{}`))
	}
	file := big.Snapshot()
	r, _ := filled(t, cluster)
	now, id := r.State.Now(), r.State.Identity()
	if err := stageAll(r, theFile, file, 4096); err != nil {
		t.Fatal(err)
	}
	wantKinds(t, r.Do(now, restoreOperation(theFile, file)), "")
	if got, want := r.State.Revision(), big.State.Revision()+1; got != want {
		t.Errorf("revision %d, want %d", got, want)
	}
	if got := r.State.Identity(); !reflect.DeepEqual(got, id) || r.State.Now() != now {
		t.Errorf("identity %+v, time %d", got, r.State.Now())
	}
	// Its resource of a lease that is not held here is not brought back, the other is.
	content := sectionOf(t, r.Snapshot(), "resources")
	if strings.Contains(content, "two") || !strings.Contains(content, "one") {
		t.Errorf("resources %q", content)
	}
	// The changes keep their ages: none is dropped by the next entry, although the file's
	// time is far ahead of this cluster's.
	r.Do(now+1, set("z", "1"))
	if n := strings.Count(sectionOf(t, r.Snapshot(), "changes"), "user"); n < 50 {
		t.Errorf("%d changes of the user are kept", n)
	}
}

func TestStagingIsPartOfSnapshotsAndTheSameEverywhere(t *testing.T) {
	_, file := filled(t, elsewhere)
	one, _ := filled(t, cluster)
	two, _ := filled(t, cluster)
	r := rand.New(rand.NewPCG(1, 2))
	for at := 0; at < len(file); {
		n := min(1+r.IntN(200), len(file)-at)
		op := stageOperation(one, theFile, at, file[at:at+n])
		if a, b := one.Do(one.State.Now(), op), two.Do(one.State.Now(), op); a[0].Err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("at %d: %+v %+v", at, a, b)
		}
		at += n
		if !bytes.Equal(one.Snapshot(), two.Snapshot()) {
			t.Fatalf("at %d the snapshots differ", at)
		}
		two.Restart()
		if s, is := two.State.Staged(); !is || s.Bytes != int64(at) || s.By != "ann" || s.File != theFile {
			t.Fatalf("at %d, after a restart: %+v %v", at, s, is)
		}
	}
	// A copy that leaves the cluster is without it.
	f, err := one.State.Copy()
	if err != nil {
		t.Fatal(err)
	}
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil || sectionOf(t, sink.Bytes(), "staged") != "" || sectionOf(t, one.Snapshot(), "staged") == "" {
		t.Errorf("a copy has the staged file: %v", err)
	}
	f.Release()
	op := restoreOperation(theFile, file)
	if a, b := one.Do(one.State.Now(), op), two.Do(one.State.Now(), op); a[0].Err != nil || !reflect.DeepEqual(a, b) || !bytes.Equal(one.Snapshot(), two.Snapshot()) {
		t.Errorf("%+v %+v", a, b)
	}
}

func TestPartsComeInOrderAndRepeatedOnesChangeNothing(t *testing.T) {
	r, file := filled(t, cluster)
	now := r.State.Now()
	wantKinds(t, r.Do(now, stageOperation(r, theFile, 10, file[10:20])), interrex.ErrConflict) // nothing is staged
	wantKinds(t, r.Do(now, restoreOperation(theFile, file), unstage(0)), interrex.ErrConflict, interrex.ErrNotFound)
	wantKinds(t, r.Do(now, stageOperation(r, theFile, 0, file[:10]), stageOperation(r, theFile, 10, file[10:20])), "", "")
	before := r.Snapshot()
	res := r.Do(now, stageOperation(r, theFile, 0, file[:10]), stageOperation(r, theFile, 5, file[5:20]))
	wantKinds(t, res, "", "")
	if got := res[0].Reply.(machine.StagedFile).Bytes; got != 20 {
		t.Errorf("continue at %d", got)
	}
	res = r.Do(now, stageOperation(r, theFile, 0, file[1:11]), stageOperation(r, theFile, 15, file[15:25]), stageOperation(r, theFile, 30, file[30:40]), stageOperation(r, 2, 0, file[:10]), unstage(2), restoreOperation(theFile, file))
	wantKinds(t, res, interrex.ErrConflict, interrex.ErrConflict, interrex.ErrConflict, interrex.ErrConflict, interrex.ErrConflict, interrex.ErrConflict)
	for i, want := range []string{"at offset 20", "at offset 20", "at offset 20", "of \"ann\"", "snapshot drop", "20 bytes"} {
		if !strings.Contains(res[i].Err.Error(), want) {
			t.Errorf("%d: %v", i, res[i].Err)
		}
	}
	// Only the log index differs.
	if after := r.Snapshot(); sectionOf(t, before, "staged") != sectionOf(t, after, "staged") || sectionOf(t, before, "state") != sectionOf(t, after, "state") {
		t.Error("what was refused, or repeated, has changed something")
	}
	wantKinds(t, r.Do(now, unstage(theFile), stageOperation(r, 2, 0, file[:10])), "", "")
}

func TestDamageIsRefusedWithThePartThatHasIt(t *testing.T) {
	_, file := filled(t, elsewhere)
	r, _ := filled(t, cluster)
	want := r.Snapshot()
	for at := 0; at < len(file); at += 7 {
		damaged := bytes.Clone(file)
		damaged[at] ^= 1 << (at % 8)
		err := stageAll(r, theFile, damaged, 64)
		if err == nil {
			err = r.Do(r.State.Now(), restoreOperation(theFile, damaged))[0].Err
		}
		if interrex.KindOf(err) != interrex.ErrInvalid {
			t.Fatalf("byte %d: %v", at, err)
		}
		if _, staged := r.State.Staged(); staged {
			t.Fatalf("byte %d: it is still staged", at)
		}
	}
	for _, cut := range []int{1, len(file) / 2, len(file) - 1} {
		if err := stageAll(r, theFile, file[:cut], 64); err != nil {
			t.Fatal(err)
		}
		wantKinds(t, r.Do(r.State.Now(), restoreOperation(theFile, file[:cut])), interrex.ErrInvalid)
	}
	if err := stageAll(r, theFile, append(bytes.Clone(file), 0), 64); err != nil && !strings.Contains(err.Error(), "after its end") {
		t.Error(err)
	}
	r.Do(r.State.Now(), unstage(0))
	for _, name := range []string{"state", "leases", "resources", "changes", "webhooks", "register-256"} {
		if sectionOf(t, want, name) != sectionOf(t, r.Snapshot(), name) {
			t.Errorf("%s have changed", name)
		}
	}
}

func TestAFileThatNobodyContinuesIsDroppedByItsAge(t *testing.T) {
	r, file := filled(t, cluster)
	now := r.State.Now()
	wantKinds(t, r.Do(now, stageOperation(r, theFile, 0, file[:10])), "")
	due, is := r.State.Due()
	if want := now.Add(10 * time.Minute); !is || due != want {
		t.Fatalf("due at %v, %v, want %d", due, is, want)
	}
	r.Do(due-1, stageOperation(r, theFile, 10, file[10:20]))
	r.Do(due)
	if _, staged := r.State.Staged(); !staged {
		t.Fatal("it was dropped although it goes on")
	}
	r.Do(due - 1 + state.Time(10*time.Minute))
	if _, staged := r.State.Staged(); staged {
		t.Fatal("it is still staged")
	}
}

func TestARecoveryDropsAStagedFile(t *testing.T) {
	r, file := filled(t, cluster)
	r.Do(r.State.Now(), stageOperation(r, theFile, 0, file[:10]))
	wantKinds(t, r.Do(r.State.Now(), systemOperation(recovery())), "")
	if _, staged := r.State.Staged(); staged {
		t.Error("it is still staged")
	}
}

func TestAFileHasALimit(t *testing.T) {
	r, file := filled(t, cluster)
	wantKinds(t, r.Do(r.State.Now(), setSettings(map[string]string{"snapshots.max-bytes": "1048576"})), "")
	part := make([]byte, 256<<10)
	copy(part, file[:10])
	c := &machine.Stage{File: 1, Offset: 0, Data: append(part, 0), Reads: r.State.Reads()}
	if err := c.Validate(); interrex.KindOf(err) != interrex.ErrTooLarge {
		t.Errorf("a part of 256 KiB and one byte: %v", err)
	}
	for _, name := range []string{"b", "c", "d"} {
		wantKinds(t, r.Do(r.State.Now(), write(name, strings.Repeat("x", 400<<10), nil)), "")
	}
	file = r.Snapshot()
	if err := stageAll(r, theFile, file, 64<<10); interrex.KindOf(err) != interrex.ErrTooLarge || !strings.Contains(err.Error(), "snapshots.max-bytes allows 1048576: raise it") {
		t.Errorf("a file of %d bytes: %v", len(file), err)
	}
	if st, is := r.State.Staged(); !is || st.Bytes != 1<<20 {
		t.Errorf("%+v is staged", st)
	}
	wantKinds(t, r.Do(r.State.Now(), setSettings(map[string]string{"snapshots.max-bytes": "4194304"})), "")
	if err := stageAll(r, theFile, file, 64<<10); err != nil {
		t.Errorf("with a higher limit: %v", err)
	}
	wantKinds(t, r.Do(r.State.Now(), restoreOperation(theFile, file)), "")
}

func TestAnAgentThatCannotReadAFileWhichTheLeaderCanHalts(t *testing.T) {
	late := func() []state.Table { return []state.Table{lease.New(), newer{testtable.NewRegister()}} }
	from := testreplica.New(t, late)
	from.Do(1, setIdentity(identity(cluster)), set("a", "1"))
	file := from.Snapshot()
	old := testreplica.New(t, withLeases)
	old.Do(1, setIdentity(identity(cluster)))
	// All are of the old build: the file is refused.
	if err := stageAll(old, theFile, file, 64); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), "version 2") || old.State.Halted() != nil {
		t.Fatalf("%v, halted: %v", err, old.State.Halted())
	}
	// The leader is of the new one.
	op := systemOperation(&machine.Stage{File: theFile, Data: file, Reads: from.State.Reads()})
	old.Do(1, op)
	if err := old.State.Halted(); err == nil || !strings.Contains(err.Error(), "version 2, and this build reads version 1") {
		t.Errorf("halted: %v", err)
	}
}

func TestAFileWithAnUnknownTableOrSettingIsRefused(t *testing.T) {
	from := testreplica.New(t, func() []state.Table { return append(withLeases(), newTuned257()) })
	from.Do(1, setIdentity(identity(cluster)))
	r := testreplica.New(t, withLeases)
	r.Do(1, setIdentity(identity(cluster)))
	if err := stageAll(r, theFile, from.Snapshot(), 64); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), `"register-257", which these agents do not have`) {
		t.Error(err)
	}
	h, sections, contents := machine.Unframe(r.Snapshot())
	contents[0] = bytes.Replace(contents[0], identityBytes(contents[0]), append(identityBytes(contents[0]), 1, 3, 'a', '.', 'b', 1, '1'), 1)
	contents[0] = append(contents[0][:len(identityBytes(contents[0]))+7], contents[0][len(identityBytes(contents[0]))+8:]...)
	if err := stageAll(r, theFile, machine.Frame(h, sections, contents), 64); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), `setting "a.b"`) {
		t.Error(err)
	}
}

func newTuned257() state.Table { return testtable.NewRegisterAs(257) }

// identityBytes returns the beginning of a system section: the identity.
func identityBytes(b []byte) []byte {
	end := bytes.Index(b, []byte("i2")) // the last member's incarnation
	return bytes.Clone(b[:end+2])
}

// fragile is a register whose Restore panics where it finds a text, after it has emptied
// itself.
type fragile struct{ *testtable.Register }

func (f fragile) Restore(version uint16, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if bytes.Contains(b, []byte("poison")) {
		_ = f.Register.Restore(version, strings.NewReader("\x00"))
		panic("poisoned")
	}
	return f.Register.Restore(version, bytes.NewReader(b))
}

func TestATableThatPanicsRefusesTheFileAndIsPutBack(t *testing.T) {
	tables := func() []state.Table {
		return []state.Table{lease.New(), testtable.NewRegister(), fragile{testtable.NewRegisterAs(257)}}
	}
	setIn := func(id state.TableID, text string) state.Operation {
		return state.Operation{Table: id, Data: testtable.Set("a", text, 0)}
	}
	r := testreplica.New(t, tables)
	r.Do(1, setIdentity(identity(cluster)), setIn(256, "old"), setIn(257, "poison"))
	file := r.Snapshot()
	r.Do(1, setIn(256, "new"), setIn(257, "new"))
	before := r.Snapshot()
	if err := stageAll(r, theFile, file, 64); err != nil {
		t.Fatal(err)
	}
	res := r.Do(1, restoreOperation(theFile, file))
	if len(res) != 1 || interrex.KindOf(res[0].Err) != interrex.ErrInvalid || !strings.Contains(res[0].Err.Error(), `its table "register-257": it cannot read its section, and panicked: poisoned`) {
		t.Fatalf("%+v, halted: %v", res, r.State.Halted())
	}
	for _, name := range []string{"register-256", "register-257"} {
		if sectionOf(t, r.Snapshot(), name) != sectionOf(t, before, name) {
			t.Errorf("%s is not as it was", name)
		}
	}
}

// A part of one byte costs one byte, and a view that is frozen has what there was.
func TestAFileInSmallPartsIsKeptInFewPieces(t *testing.T) {
	r, _ := filled(t, cluster)
	wantKinds(t, r.Do(r.State.Now(), write("a", strings.Repeat("x", 200<<10), nil), write("b", strings.Repeat("y", 200<<10), nil)), "", "")
	file := r.Snapshot()
	if err := stageAll(r, theFile, file[:1000], 1); err != nil {
		t.Fatal(err)
	}
	if n := r.State.StagedPieces(); n != 1 {
		t.Errorf("1000 parts of one byte are kept in %d pieces", n)
	}
	want := r.Snapshot()
	f, err := r.State.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for at := 1000; at < len(file); at += 7000 {
		wantKinds(t, r.Do(r.State.Now(), stageOperation(r, theFile, at, file[at:min(at+7000, len(file))])), "")
	}
	if n, most := r.State.StagedPieces(), len(file)>>18+1; n != most {
		t.Errorf("%d bytes are kept in %d pieces, want %d", len(file), n, most)
	}
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil || !bytes.Equal(sink.Bytes(), want) {
		t.Errorf("the frozen view has changed: %v", err)
	}
	f.Release()
	r.Restart()
	wantKinds(t, r.Do(r.State.Now(), restoreOperation(theFile, file)), "")
}
