package disk

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FileOf identifies a file independently of its path: by its inode number and, if
// known, its birth time. The device number is not used: it may change when the
// machine restarts.
func FileOf(path string) (string, error) {
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &x); err != nil {
		return "", err
	}
	return fmt.Sprintf("file %d of %d.%09d", x.Ino, x.Btime.Sec, x.Btime.Nsec), nil
}
