package machine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// cliName is the name of request ids that exampleReplica has.
const cliName = "2-0000000000000001"

// cli is a write under that name.
func cli(number, mark uint64) state.Operation { return under("ann", cliName, number, mark, "k") }

// exampleReplica is one that has something of everything.
func exampleReplica(t testing.TB) *testreplica.Replica {
	r := testreplica.New(t, register)
	r.Do(1, setIdentity(identity(cluster)))
	if name := r.OpenName("ann", 1); name != cliName {
		t.Fatalf("its name is %s", name)
	}
	r.Do(1, cli(7, 5), cli(9, 6), request("plain", "b"))
	r.Do(state.Time(time.Second), state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("c", "short", time.Minute)})
	return r
}

func TestSnapshotEncodingIsFixed(t *testing.T) {
	r := exampleReplica(t)
	golden(t, "snapshot.golden", r.Snapshot())
	r.Do(state.Time(time.Minute), systemOperation(recovery()), cli(9, 6))
	golden(t, "recovered.golden", r.Snapshot())
}

// slow is a sink that takes 5 ms for each write.
type slow struct {
	raft.SnapshotSink
	writes int
}

func (s *slow) Write(b []byte) (int, error) {
	s.writes++
	time.Sleep(5 * time.Millisecond)
	return len(b), nil
}

func (s *slow) Close() error { return nil }

func TestASnapshotIsWrittenAtAPaceThatLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen, err := exampleReplica(t).State.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink, began := &slow{}, time.Now()
		if err := frozen.Persist(sink); err != nil || sink.writes < 5 {
			t.Fatalf("%d writes, %v", sink.writes, err)
		}
		if took, want := time.Since(began), time.Duration(sink.writes)*15*time.Millisecond; took != want {
			t.Errorf("%d writes took %s, not %s", sink.writes, took, want)
		}
	})
}

func TestASnapshotSaysWhatIsInIt(t *testing.T) {
	h, sections, contents := machine.Unframe(exampleReplica(t).Snapshot())
	want := snapfile.Header{ClusterID: cluster, Epoch: identity(cluster).Epoch, Index: 4, Term: 1, Revision: 6, Time: int64(time.Second)}
	if h != want {
		t.Errorf("header: %+v", h)
	}
	if len(sections) != 2 || sections[0].Name != "state" || sections[1].Table != uint16(testtable.RegisterTable) || sections[1].Name != "register-256" || sections[1].Version != 1 || len(contents[1]) == 0 {
		t.Errorf("sections: %+v", sections)
	}
}

// check reads a whole snapshot, and verifies every checksum.
func check(snapshot []byte) error {
	in, err := snapfile.Open(bytes.NewReader(snapshot))
	if err != nil {
		return err
	}
	return in.Check()
}

func TestADamagedSnapshotIsRefusedAndChangesNothing(t *testing.T) {
	whole := exampleReplica(t).Snapshot()
	damaged := [][]byte{append(bytes.Clone(whole), 0), append(bytes.Clone(whole), whole...)}
	for n := range whole {
		damaged = append(damaged, whole[:n])
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[n] ^= 1 << bit
			damaged = append(damaged, b)
		}
	}
	r := testreplica.New(t, register)
	before := r.Snapshot()
	for i, b := range damaged {
		if err := check(b); err == nil {
			t.Fatalf("damage %d is not seen by a reader", i)
		}
		if err := r.Restore(b); err == nil {
			t.Fatalf("damage %d is not seen by Restore", i)
		}
	}
	if r.State.Halted() != nil || r.Resets != 0 || !bytes.Equal(r.Snapshot(), before) {
		t.Error("a damaged snapshot has left its traces")
	}
}

func TestPartsOfTwoSnapshotsAreNoSnapshot(t *testing.T) {
	const trailer = 14 // bytes: 9 around the number of parts and a checksum
	one := exampleReplica(t)
	first := one.Snapshot()
	one.Do(state.Time(time.Second), set("a", ""))
	second := one.Snapshot()
	mixed := append(bytes.Clone(first[:len(first)-trailer]), second[len(second)-trailer:]...)
	if err := check(mixed); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("read: %v", err)
	}
}

func TestASnapshotNeverTakesTheStateBack(t *testing.T) {
	r := exampleReplica(t)
	old := r.Snapshot()
	if err := r.Restore(old); err != nil || r.Resets != 0 {
		t.Errorf("of the same index: %v, %d resets", err, r.Resets)
	}
	r.Do(state.Time(2*time.Second), set("new", ""))
	now := r.Snapshot()
	if err := r.Restore(old); err != nil || r.Resets != 0 || !bytes.Equal(r.Snapshot(), now) {
		t.Errorf("of an older index: %v, %d resets", err, r.Resets)
	}
}

func TestANewerSnapshotReplacesEverything(t *testing.T) {
	ahead, behind := exampleReplica(t), exampleReplica(t)
	ahead.Do(state.Time(time.Hour), set("new", ""), cli(10, 9))
	behind.Events = nil
	want := ahead.Snapshot()
	if err := behind.Restore(want); err != nil {
		t.Fatal(err)
	}
	if behind.Resets != 1 || behind.Last != ahead.State.Revision() || len(behind.Events) != 0 {
		t.Errorf("%d resets at %d", behind.Resets, behind.Last)
	}
	if !bytes.Equal(behind.Snapshot(), want) {
		t.Error("it is another state")
	}
	if index, term := behind.State.Applied(); index != 5 || term != 1 {
		t.Errorf("applied %d, term %d", index, term)
	}
}

func TestASnapshotOfAnotherHistoryIsRefused(t *testing.T) {
	other := testreplica.New(t, register)
	for i := range state.Time(9) {
		other.Do(i, setIdentity(identity(elsewhere)), set("a", "theirs"))
	}
	epoch := testreplica.New(t, register)
	id := identity(cluster)
	id.Epoch.Bits++
	for i := range state.Time(9) {
		epoch.Do(i, setIdentity(id))
	}
	r := exampleReplica(t)
	before := r.Snapshot()
	for _, foreign := range []*testreplica.Replica{other, epoch} {
		if err := r.Restore(foreign.Snapshot()); err == nil || !strings.Contains(err.Error(), "another history") {
			t.Errorf("restored: %v", err)
		}
	}
	if !bytes.Equal(r.Snapshot(), before) || r.State.Halted() != nil {
		t.Error("something has changed")
	}
}

// newer is a register of a later version.
type newer struct{ *testtable.Register }

func (newer) Version() uint16 { return 2 }

func TestASnapshotOfWhatIsNotKnownIsRefused(t *testing.T) {
	for want, tables := range map[string]func() []state.Table{
		"version 2":                     func() []state.Table { return []state.Table{newer{testtable.NewRegister()}} },
		"table 300 \"register-300\" is": func() []state.Table { return []state.Table{testtable.NewRegisterAs(300)} },
	} {
		theirs := testreplica.New(t, tables)
		theirs.Do(1)
		r := testreplica.New(t, register)
		if err := r.Restore(theirs.Snapshot()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
		if index, _ := r.State.Applied(); index != 0 || r.State.Halted() != nil {
			t.Error("something has changed")
		}
	}
	// What is older is read.
	r := testreplica.New(t, func() []state.Table { return []state.Table{newer{testtable.NewRegister()}} })
	if err := r.Restore(exampleReplica(t).Snapshot()); err != nil {
		t.Error(err)
	}
}

// unable is a register that restores nothing.
type unable struct{ *testtable.Register }

func (unable) Restore(uint16, io.Reader) error { return errors.New("no room") }

func TestATableThatCannotRestoreHaltsTheReplica(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{unable{testtable.NewRegister()}} })
	if err := r.Restore(exampleReplica(t).Snapshot()); err == nil || r.State.Halted() == nil {
		t.Errorf("restored: %v, halted: %v", err, r.State.Halted())
	}
}

func TestANewerSnapshotEndsAHalt(t *testing.T) {
	ahead, r := exampleReplica(t), exampleReplica(t)
	r.ApplyBytes([]byte{9})
	ahead.Do(state.Time(time.Hour), set("a", ""))
	ahead.Do(state.Time(time.Hour), set("b", ""))
	if err := r.Restore(ahead.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := r.State.Halted(); err != nil {
		t.Error(err)
	}
	r.Do(0) // ignored: it is at the index of the snapshot's
	wantKinds(t, r.Do(0, set("c", "")), "")
}

// fullSink takes so many bytes.
type fullSink struct {
	testtable.Sink
	room int
}

func (s *fullSink) Write(p []byte) (int, error) {
	if s.room -= len(p); s.room < 0 {
		return 0, errors.New("disk full")
	}
	return s.Sink.Write(p)
}

func TestASnapshotThatCannotBeWrittenIsCancelled(t *testing.T) {
	r := exampleReplica(t)
	whole := len(r.Snapshot())
	for room := range whole {
		f, err := r.State.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := &fullSink{room: room}
		if err := f.Persist(sink); err == nil || !sink.Cancelled || sink.Closed {
			t.Fatalf("with room for %d of %d: %v, cancelled %v", room, whole, err, sink.Cancelled)
		}
		f.Release()
	}
}

func TestRecordsStayAsTheyWereFrozen(t *testing.T) {
	r := exampleReplica(t)
	want := r.Snapshot()
	f, err := r.State.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r.Do(state.Time(2*time.Second), cli(8, 8), cli(12, 9), opening("ann", "", 2), request("plain2", "x"))
	r.Do(state.Time(3*time.Second), retire(cli(12, 9)))
	r.Do(state.Time(48 * time.Hour))
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	f.Release()
	f.Release()
	if !bytes.Equal(sink.Bytes(), want) {
		t.Error("they have changed")
	}
}

func TestANameWhoseMarkStaysIsFrozenToo(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "n")
	r.Do(1, marked("n.1", 1))
	want := r.Snapshot()
	f, err := r.State.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r.Do(2, marked("n.2", 1))
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	f.Release()
	if !bytes.Equal(sink.Bytes(), want) {
		t.Error("a later write stands in the snapshot")
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(exampleReplica(f).Snapshot())
	f.Add(testreplica.New(f, register).Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := testreplica.New(t, register)
		if err := r.Restore(b); err != nil {
			if interrex.KindOf(r.State.Halted()) == "" && r.Resets != 0 {
				t.Fatal("refused, and yet replaced")
			}
			return
		}
		first := r.Snapshot()
		r.Restart()
		if !bytes.Equal(first, r.Snapshot()) {
			t.Fatal("it restores to something else")
		}
	})
}

// FuzzRestoreContent passes the checksums, so that what is behind them is
// tried too.
func FuzzRestoreContent(f *testing.F) {
	header, sections, contents := machine.Unframe(exampleReplica(f).Snapshot())
	f.Add(contents[0], contents[1])
	f.Fuzz(func(t *testing.T, own, table []byte) {
		r := testreplica.New(t, register)
		if err := r.Restore(machine.Frame(header, sections, [][]byte{own, table})); err != nil {
			return
		}
		first := r.Snapshot()
		r.Restart()
		if !bytes.Equal(first, r.Snapshot()) {
			t.Fatal("it restores to something else")
		}
		r.Do(state.Time(header.Time), cli(8, 7), opening("ann", "", 1), opening("ann", "", 2), request("plain", "b"), request("more", "b"))
	})
}

func TestTwoRecordsOfOneIdAreRefused(t *testing.T) {
	h, sections, contents := machine.Unframe(exampleReplica(t).Snapshot())
	twice := bytes.ReplaceAll(contents[0], []byte{9, 0x80, 2}, []byte{7, 0x80, 2}) // 9 becomes 7
	if bytes.Equal(twice, contents[0]) {
		t.Fatal("the example has no such record")
	}
	contents[0] = twice
	if err := testreplica.New(t, register).Restore(machine.Frame(h, sections, contents)); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("restored: %v", err)
	}
}

// TestASnapshotIsWrittenBesideApplies is for the race detector.
func TestASnapshotIsWrittenBesideApplies(t *testing.T) {
	r := testreplica.New(t, register)
	var names []string
	for i := range uint64(50) {
		names = append(names, r.OpenName("ann", i+1))
	}
	for i := range 500 {
		r.Do(state.Time(i), under("ann", names[i%50], uint64(i), 1, "k"), request(fmt.Sprint("id", i), "a"))
	}
	want := r.Snapshot()
	f, err := r.State.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink testtable.Sink
	done := make(chan error)
	go func() {
		r.State.Estimate()
		r.State.Identity()
		done <- f.Persist(&sink)
		f.Release()
	}()
	for i := range 500 {
		op := under("ann", names[i%50], uint64(500+i), uint64(i), "k")
		r.Do(state.Time(500+i), op)
		r.State.Recorded(&op)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sink.Bytes(), want) {
		t.Error("what was frozen has changed")
	}
}
