package raftdir

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileOf names a file apart from its path: by its number in its file system and
// when it was made, where that is known. Devices are numbered anew when a
// machine starts, so they say nothing.
func fileOf(path string) (string, error) {
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &x); err != nil {
		return "", err
	}
	return fmt.Sprintf("file %d of %d.%09d", x.Ino, x.Btime.Sec, x.Btime.Nsec), nil
}
