package raftdir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

const (
	smallSegment = 4096
	lastEntry    = 300
	snapshotAt   = 120
)

// filled makes a directory of a log of several segments and two terms, with
// snapshots up to an entry; 0: without any.
func filled(t *testing.T, snapshot uint64) string {
	t.Helper()
	dir := t.TempDir()
	d := openTerm(t, dir, Config{SegmentSize: smallSegment, NoSync: true})
	for i := 1; i < lastEntry; i += 3 {
		if i+2 >= 200 {
			must(t, d.Stable().SetUint64([]byte(keyCurrentTerm), 2))
		}
		must(t, d.StoreLogs(original(uint64(i), uint64(i)+2)))
	}
	for _, index := range []uint64{snapshot / 2, snapshot} {
		if index > 0 {
			takeSnapshot(t, d, index)
		}
	}
	must(t, d.Close())
	return dir
}

func takeSnapshot(t *testing.T, d *Directory, index uint64) {
	t.Helper()
	_, trans := raft.NewInmemTransport("a")
	sink, err := d.Snapshots().Create(raft.SnapshotVersionMax, index, original(index, index)[0].Term, raft.Configuration{}, 0, trans)
	must(t, err)
	_, err = fmt.Fprintf(sink, "the state at %d", index)
	must(t, errors.Join(err, sink.Close()))
}

func original(first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		term := uint64(1)
		if i >= 200 {
			term = 2
		}
		logs = append(logs, &raft.Log{Index: i, Term: term, Data: bytes.Repeat(fmt.Appendf(nil, "entry %d.", i), 5)})
	}
	return logs
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// damage is what may happen to a file.
type damage struct {
	name string
	do   func(t *testing.T, path string)
}

func changed(change func(b []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, change(b), 0o600))
	}
}

// damages are flips of single bits, zeroed blocks, cuts, and the file's loss.
func damages(size int) []damage {
	all := []damage{{"removed", func(t *testing.T, path string) { must(t, os.Remove(path)) }}}
	for at := 0; at < size; at += 1 + size/97 {
		all = append(all, damage{fmt.Sprintf("bit flipped in byte %d", at), changed(func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })})
	}
	for at := 0; at < size; at += 512 {
		end := min(at+512, size)
		all = append(all, damage{fmt.Sprintf("bytes %d to %d zeroed", at, end), changed(func(b []byte) []byte { clear(b[at:end]); return b })})
	}
	for _, part := range []int{0, 1, 2, 3} {
		all = append(all, damage{fmt.Sprintf("cut to %d quarters", part), changed(func(b []byte) []byte { return b[:len(b)*part/4] })})
	}
	return all
}

// TestDamageIsNeverTakenForTheTruth damages one file of a directory in each way,
// and looks what becomes of it: all is there; or what is missing is known, and
// the directory is in quarantine until it has been brought back; or it is
// refused.
func TestDamageIsNeverTakenForTheTruth(t *testing.T) {
	for name, snapshot := range map[string]uint64{"log alone": 0, "with snapshots": snapshotAt} {
		t.Run(name, func(t *testing.T) {
			whole := filled(t, snapshot)
			outcomes := map[string]map[string]int{}
			for _, file := range allFiles(t, whole) {
				info, err := os.Stat(filepath.Join(whole, file))
				must(t, err)
				for _, d := range damages(int(info.Size())) {
					dir := filepath.Join(t.TempDir(), "raft")
					must(t, os.CopyFS(dir, os.DirFS(whole)))
					d.do(t, filepath.Join(dir, file))
					kind := kindOf(file)
					if outcomes[kind] == nil {
						outcomes[kind] = map[string]int{}
					}
					outcomes[kind][examine(t, dir, file+": "+d.name, snapshot)]++
					must(t, os.RemoveAll(dir))
				}
			}
			t.Log(outcomes)
			for kind, want := range map[string]string{"wal": "healed", "segments": "noted", "floor": "refused", "vote": "refused", "VERSION": "refused"} {
				if outcomes[kind][want] == 0 {
					t.Errorf("no damage of a %s file was %s: %v", kind, want, outcomes[kind])
				}
			}
		})
	}
}

func kindOf(file string) string {
	if ext := filepath.Ext(file); ext == ".wal" {
		return "wal"
	}
	return filepath.Base(file)
}

func allFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != disk.LockName && filepath.Base(filepath.Dir(path)) != snapshotsName {
			name, _ := filepath.Rel(dir, path)
			files = append(files, name)
		}
		return err
	}))
	return files
}

func examine(t *testing.T, dir, what string, snapshot uint64) (outcome string) {
	t.Helper()
	var seen *Found
	var unseen error
	looks := len(what)%4 == 0 // at some of them, for the sake of time
	if looks {
		seen, unseen = Examine(dir)
	}
	d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	if !looks {
	} else if refused := unseen != nil || seen.Forgotten != nil; refused != (err != nil) {
		t.Errorf("%s: it looks like %+v, %v, and is opened with %v", what, seen, unseen, err)
	} else if err == nil && (seen.End != d.Report().End || seen.Floor != d.Report().Floor || seen.Short() != d.Quarantined() || seen.Term != d.Term()) {
		t.Errorf("%s: it looks like %+v, and is %+v", what, seen, d.Report())
	}
	if err != nil {
		if !errors.Is(err, ErrForgotten) && !strings.Contains(err.Error(), stampName) && !strings.Contains(err.Error(), "it is of version") {
			t.Errorf("%s: refused without a reason: %v", what, err)
		}
		return "refused"
	}
	end := d.End()
	mustHold(t, d, what, snapshot)
	outcome = "unharmed"
	switch {
	case end.Index < lastEntry:
		outcome = "healed"
		if !d.Quarantined() || len(d.Report().Notes) == 0 {
			t.Errorf("%s: it ends at %s, and is not in quarantine: %q", what, end, d.Report().Notes)
		}
	case d.Quarantined():
		t.Errorf("%s: in quarantine although it ends at %s", what, end)
	case len(d.Report().Notes) > 0:
		outcome = "noted"
	}
	must(t, d.Close())
	heal(t, dir, what, end, snapshot)
	return outcome
}

// mustHold reads all entries behind the snapshot.
func mustHold(t *testing.T, d *Directory, what string, snapshot uint64) {
	t.Helper()
	last, err := d.LastIndex()
	must(t, err)
	for i := snapshot + 1; i <= last; i++ {
		var log raft.Log
		want := original(i, i)[0]
		if err := d.GetLog(i, &log); err != nil || log.Term != want.Term || !bytes.Equal(log.Data, want.Data) {
			t.Fatalf("%s: entry %d is %q of term %d: %v", what, i, log.Data, log.Term, err)
		}
	}
	list, err := d.Snapshots().List()
	must(t, err)
	for _, m := range list {
		_, r, err := d.Snapshots().Open(m.ID)
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		if string(b) != fmt.Sprintf("the state at %d", m.Index) {
			t.Errorf("%s: the snapshot at %d is %q", what, m.Index, b)
		}
	}
}

// heal opens the directory again and brings back what is missing.
func heal(t *testing.T, dir, what string, end raftlog.Position, snapshot uint64) {
	t.Helper()
	d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	if err != nil || d.End() != end {
		t.Fatalf("%s: opened again: %v", what, err)
	}
	for i := end.Index + 1; i <= lastEntry; i++ {
		if !d.Quarantined() {
			t.Fatalf("%s: the quarantine ended before entry %d", what, i)
		}
		must(t, d.StoreLogs(original(i, i)))
	}
	if d.Quarantined() {
		t.Errorf("%s: the quarantine has not ended", what)
	}
	must(t, d.Close())
	d, err = Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	must(t, err)
	if d.End().Index != lastEntry || d.Quarantined() {
		t.Errorf("%s: after it has been brought back it ends at %s: %q", what, d.End(), d.Report().Notes)
	}
	mustHold(t, d, what, snapshot)
	must(t, d.Close())
}

// What looks like a newest segment to which nothing was written yet is named too.
func TestANewestSegmentThatIsGoneOrEmptyIsNamed(t *testing.T) {
	for want, do := range map[string]func(path string) error{
		"is missing":               os.Remove,
		"holds nothing from index": func(path string) error { return os.Truncate(path, 32) },
	} {
		dir := t.TempDir()
		d := openTerm(t, dir, Config{NoSync: true})
		must(t, errors.Join(d.StoreLogs(entries(1, 5)), d.Close()))
		names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		must(t, errors.Join(err, do(names[0])))
		f, err := Examine(dir)
		must(t, err)
		notes := strings.Join(f.Notes, "\n")
		if !strings.Contains(notes, "log segment "+filepath.Base(names[0])+" "+want) || !strings.Contains(notes, "is intact up to index 0, and") {
			t.Errorf("it says:\n%s", notes)
		}
	}
}

// A list of segments that was put back from an older one is known by the segments
// that it does not name.
func TestAnOlderListOfSegmentsIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{SegmentSize: smallSegment, NoSync: true})
	must(t, d.StoreLogs(original(1, 3)))
	old, err := os.ReadFile(filepath.Join(dir, raftlog.SegmentsName))
	must(t, err)
	for i := uint64(4); i < 150; i += 3 {
		must(t, d.StoreLogs(original(i, i+2)))
	}
	end := d.End()
	must(t, d.Close())
	must(t, os.WriteFile(filepath.Join(dir, raftlog.SegmentsName), old, 0o600))
	d = reopen(t, dir)
	if d.End() != end || d.Quarantined() || !strings.Contains(strings.Join(d.Report().Notes, ";"), "is out of date") {
		t.Errorf("it ends at %s, not at %s, quarantined %v: %q", d.End(), end, d.Quarantined(), d.Report().Notes)
	}
	must(t, d.Close())
}

// A segment that the list does not name, and that has nothing of what is missing,
// makes the list no older one.
func TestAListThatLeadsAsFarAsItsSegmentsIsKept(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 30)))
	must(t, d.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[bytes.Index(b, []byte("entry 20."))] ^= 1; return b })(t, files[0])
	must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d-%016x.wal", 1000, 200)), nil, 0o600))
	d, err = Open(dir, Config{NoSync: true})
	must(t, err)
	if notes := strings.Join(d.Report().Notes, ";"); d.End().Index != 19 || !d.Quarantined() || strings.Contains(notes, "list of log segments") {
		t.Errorf("it ends at %s, quarantined %v: %s", d.End(), d.Quarantined(), notes)
	}
	must(t, d.Close())
}

// A log whose entry at the snapshot's index differs does not continue from it.
func TestALogThatDisagreesWithTheSnapshotIsNotKept(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 10)))
	must(t, d.Stable().SetUint64([]byte(keyCurrentTerm), 2))
	_, trans := raft.NewInmemTransport("a")
	sink, err := d.Snapshots().Create(raft.SnapshotVersionMax, 5, 2, raft.Configuration{}, 0, trans)
	must(t, err)
	must(t, sink.Close())
	must(t, d.Close())
	d = reopen(t, dir)
	if r := d.Report(); r.Last != 0 || d.End() != (raftlog.Position{Term: 2, Index: 5}) {
		t.Errorf("entries %d to %d go on from it, and it ends at %s", r.First, r.Last, d.End())
	}
	must(t, d.Close())
}

// Entries whose snapshot is lost are reported and set aside.
func TestALogWhoseSnapshotIsLostIsSetAside(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 30)))
	takeSnapshot(t, d, 20)
	must(t, d.DeleteRange(1, 20))
	must(t, d.Close())
	must(t, os.RemoveAll(filepath.Join(dir, snapshotsName)))
	d = reopen(t, dir)
	aside, err := filepath.Glob(filepath.Join(dir, "damaged", "*", "*.wal"))
	must(t, err)
	if !d.Quarantined() || len(d.Report().Notes) == 0 || len(aside) != 1 {
		t.Errorf("quarantined %v, set aside %q: %q", d.Quarantined(), aside, d.Report().Notes)
	}
	must(t, d.Close())
}

func TestADamagedEntryWhoseTermIsAskedForFailsTheDisk(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 30)))
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[bytes.Index(b, []byte("entry 20."))] ^= 1; return b })(t, files[0])
	if _, err := d.TermAt(20); !errors.Is(err, disk.ErrDamaged) || !errors.Is(d.Failure(), disk.ErrDamaged) {
		t.Errorf("%v, and the disk: %v", err, d.Failure())
	}
	must(t, d.Close())
	if _, err := d.TermAt(1); !errors.Is(err, disk.ErrClosed) {
		t.Errorf("once it is closed: %v", err)
	}
	d, err = Open(dir, Config{NoSync: true})
	must(t, err)
	if d.Term() != 1 {
		t.Errorf("opened again, it is in term %d", d.Term())
	}
	must(t, d.Close())
}
