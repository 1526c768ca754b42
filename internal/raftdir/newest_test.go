package raftdir

import "testing"

// raft starts from the newest snapshot or not at all: the log need not reach back to an
// older one.
func TestOnlyTheNewestSnapshotIsRestored(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	if list, err := d.Snapshots().List(); err != nil || len(list) != 0 {
		t.Errorf("of none %v are listed, %v", list, err)
	}
	must(t, d.StoreLogs(original(1, 60)))
	for _, at := range []uint64{20, 40} {
		takeSnapshot(t, d, at)
		if list, err := d.Snapshots().List(); err != nil || len(list) != 1 || list[0].Index != at {
			t.Errorf("behind that of %d there is %v, %v", at, list, err)
		}
	}
	must(t, d.Close())
}
