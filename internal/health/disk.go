package health

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/raftworker"
)

// disk returns the state of raft's disk: what a running raft knows, or why raft ended.
func (v View) disk() raftworker.DiskState {
	if v.Vitals != nil {
		if d, running := v.Vitals.Disk(); running {
			return d
		}
	}
	return raftworker.DiskState{Err: v.RaftDown}
}

// diskEnded is a condition that has ended raft.
func (v View) diskEnded(kind error) []alarm.Finding {
	if err := v.disk().Err; errors.Is(err, kind) {
		return alarm.Found(err.Error())
	}
	return nil
}

func (v View) diskFailed() []alarm.Finding { return v.diskEnded(raftworker.ErrDiskFailed) }

func (v View) diskHung() []alarm.Finding {
	if d := v.disk(); d.Writing > hungAfter {
		return alarm.Found("a write to raft's log has not returned yet")
	}
	return v.diskEnded(raftworker.ErrDiskHung)
}

func (v View) diskSlow() []alarm.Finding {
	if !v.disk().Slow {
		return nil
	}
	return alarm.Found("several of the last minute's writes to raft's log took more than 500 ms")
}

func (v View) diskLow() []alarm.Finding {
	if v.Directory == "" || v.InMemory {
		return nil
	}
	free, size, err := space(v.Directory)
	switch {
	case err != nil:
		return alarm.Found(fmt.Sprintf("cannot tell how much is free at %s: %v", v.Directory, err))
	case Low(free, size):
		return alarm.Found(fmt.Sprintf("%d MiB of %d are free at %s", free>>20, size>>20, v.Directory))
	}
	return nil
}

// Low reports whether an agent with so much free space asks another member to lead: less
// than 1 GiB, or than a tenth of a smaller disk, and always four segments of raft's log.
func Low(free, size uint64) bool { return free < max(64<<20, min(1<<30, size/10)) }

// AlmostFull reports whether an agent with so much free space refuses what a cluster
// can do without: a quarter of what is low, or half of it on a very small disk. The rest
// is for extends.
func AlmostFull(free, size uint64) bool { return free < max(32<<20, min(256<<20, size/20)) }

// space returns the free bytes and the size of a directory's file system.
func space(dir string) (free, size uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil
}
