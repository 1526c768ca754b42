package machine_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
)

func TestAPartThatIsNotValidIsRefused(t *testing.T) {
	r := testreplica.New(t, withLeases)
	reads := r.State.Reads()
	for what, c := range map[string]struct {
		machine.Stage
		kind interrex.Kind
	}{
		"a first one":            {machine.Stage{File: 1, Data: []byte("a"), Reads: reads}, ""},
		"a later one":            {machine.Stage{File: 1, Offset: 1, Data: []byte("a")}, ""},
		"the largest":            {machine.Stage{File: 1, Offset: 1, Data: make([]byte, limits.MaxFilePart)}, ""},
		"one that is larger":     {machine.Stage{File: 1, Offset: 1, Data: make([]byte, limits.MaxFilePart+1)}, interrex.ErrTooLarge},
		"without an ID":          {machine.Stage{Data: []byte("a"), Reads: reads}, interrex.ErrInvalid},
		"before the first":       {machine.Stage{File: 1, Offset: -1, Data: []byte("a")}, interrex.ErrInvalid},
		"without bytes":          {machine.Stage{File: 1, Reads: reads}, interrex.ErrInvalid},
		"a first without reads":  {machine.Stage{File: 1, Data: []byte("a")}, interrex.ErrInvalid},
		"a later one with reads": {machine.Stage{File: 1, Offset: 1, Data: []byte("a"), Reads: reads}, interrex.ErrInvalid},
	} {
		if err := c.Validate(); interrex.KindOf(err) != c.kind {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// An entry of the log is cut nowhere: what is, this build does not know.
func TestAPartThatIsCutIsRefused(t *testing.T) {
	r := testreplica.New(t, withLeases)
	c := &machine.Stage{File: 1, Data: []byte("a"), Reads: r.State.Reads()}
	op := systemOperation(c)
	whole := op.Data
	for n := 2; n < len(whole); n++ {
		op.Data = whole[:n]
		wantKinds(t, r.Do(1, op), interrex.ErrInvalid)
	}
	op.Data = whole
	wantKinds(t, r.Do(1, op), "")
}

func TestAStagedFileIsDescribed(t *testing.T) {
	r, file := filled(t, cluster)
	now := r.State.Now()
	wantKinds(t, r.Do(now, stageOperation(r, theFile, 0, file[:10])), "")
	later := now.Add(time.Minute)
	wantKinds(t, r.Do(later, stageOperation(r, theFile, 10, file[10:30])), "")
	want := machine.StagedFile{
		File: theFile, By: "ann", Bytes: 30, Checksum: crc32.Checksum(file[:30], crc32.MakeTable(crc32.Castagnoli)),
		Began: now, Last: later, DroppedAt: later.Add(10 * time.Minute),
	}
	for range 2 {
		if got, is := r.State.Staged(); !is || got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		r.Restart()
	}
}

func TestAFileOfACallerWithoutANameIsDescribed(t *testing.T) {
	r, file := filled(t, cluster)
	op := stageOperation(r, theFile, 0, file[:10])
	op.Caller = ""
	now := r.State.Now()
	res := r.Do(now, op, stageOperation(r, 2, 0, file[:10]))
	if wantKinds(t, res, "", interrex.ErrConflict); !strings.Contains(res[1].Err.Error(), "of an unnamed caller, begun") {
		t.Error(res[1].Err)
	}
}

func TestADroppedFileIsReadNoFurther(t *testing.T) {
	r, file := filled(t, cluster)
	before := goleak.IgnoreCurrent()
	wantKinds(t, r.Do(r.State.Now(), stageOperation(r, theFile, 0, file[:10]), unstage(theFile)), "", "")
	goleak.VerifyNone(t, before)
}

// Parts that are repeated are compared across the pieces in which a file is kept.
func TestARepeatedPartIsComparedInAllPieces(t *testing.T) {
	r, _ := filled(t, cluster)
	now := r.State.Now()
	wantKinds(t, r.Do(now, write("a", strings.Repeat("x", 200<<10), nil), write("b", strings.Repeat("y", 200<<10), nil)), "", "")
	file := r.Snapshot()
	if err := stageAll(r, theFile, file, 64<<10); err != nil {
		t.Fatal(err)
	}
	const border = limits.MaxFilePart
	for _, at := range []int{border - 100, border - 1, border, border + 1} {
		part := file[at : at+200]
		wantKinds(t, r.Do(now, stageOperation(r, theFile, at, part)), "")
		for _, i := range []int{0, 99, 100, 199} {
			other := bytes.Clone(part)
			other[i] ^= 1
			wantKinds(t, r.Do(now, stageOperation(r, theFile, at, other)), interrex.ErrConflict)
		}
	}
	wantKinds(t, r.Do(now, restoreOperation(theFile, file)), "")
}

// A snapshot whose staged file cannot be read on is not restored without it: this agent
// would refuse parts that the others take.
func TestASnapshotWithAStagedFileThatCannotBeReadIsRefused(t *testing.T) {
	r, file := filled(t, cluster)
	wantKinds(t, r.Do(r.State.Now(), stageOperation(r, theFile, 0, file[:40])), "")
	h, sections, contents := machine.Unframe(r.Snapshot())
	for i, s := range sections {
		if s.Name != "staged" {
			continue
		}
		whole := contents[i]
		for what, c := range map[string]struct {
			content []byte
			want    string
		}{
			"nothing":         {nil, "ends too early"},
			"half an ID":      {whole[:4], "ends too early"},
			"no reads":        {whole[:14], "malformed"},
			"another file":    {bytes.Replace(whole, []byte("interrex\x01"), []byte("interred\x01"), 1), "not a snapshot"},
			"an unknown file": {bytes.Replace(whole, []byte("interrex\x01"), []byte("interrex\x02"), 1), "version 2"},
		} {
			contents[i] = c.content
			if err := testreplica.New(t, restorable).Restore(machine.Frame(h, sections, contents)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return
	}
	t.Fatal("the snapshot has no staged file")
}

func TestWhatFollowsARevisionFromBeforeARestoreIsCompacted(t *testing.T) {
	r := machine.RestoredFile{File: 1, From: 10, To: 20}
	for since, c := range map[interrex.Revision]struct{ follows, hasPage bool }{
		0: {true, true}, 1: {false, true}, 10: {false, true}, 11: {false, false}, 19: {false, false}, 20: {true, true}, 21: {true, true},
	} {
		for what, got := range map[string]struct {
			err error
			is  bool
		}{"what follows": {r.Continues(since), c.follows}, "a page": {r.Has(since), c.hasPage}} {
			var e *interrex.Error
			if errors.As(got.err, &e) == got.is || e != nil && (e.Kind != interrex.ErrCompacted || e.FirstRevision != 20) {
				t.Errorf("%s %d: %v", what, since, got.err)
			}
		}
	}
	if err := (machine.RestoredFile{}).Continues(5); err != nil {
		t.Errorf("without a restore: %v", err)
	}
}
