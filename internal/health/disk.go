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

func (v View) diskFull() []alarm.Finding { return v.diskEnded(raftworker.ErrDiskFull) }

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
	case low(free, size):
		return alarm.Found(fmt.Sprintf("%d MiB of %d are free at %s", free>>20, size>>20, v.Directory))
	}
	return nil
}

func low(free, size uint64) bool { return free < min(lowSpace, size/10) }

// space returns the free bytes and the size of a directory's file system.
func space(dir string) (free, size uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil
}
