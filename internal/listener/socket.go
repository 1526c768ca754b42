package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long another process may take to listen in the same directory.
const lockWait = 5 * time.Second

// Socket listens on a Unix socket that only this user can use, in place of what a
// killed process has left at the path, if replaceable returns no error for it. Of two
// processes that try at once, the second finds the socket of the first.
func Socket(path string, replaceable func(path string) error) (net.Listener, error) {
	unlock, err := lock(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := replaceable(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// lock locks a directory itself, so that no file is left behind.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // which unlocks it
		}
		if errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end) {
			continue
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("another process has held its lock for %v", lockWait)
		}
		return nil, errors.Join(fmt.Errorf("cannot lock directory %s: %w", dir, err), f.Close())
	}
}
