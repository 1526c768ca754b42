package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// LockName is the name of the lock file in a locked directory.
const LockName = "LOCK"

// DirLock is the lock of a directory: two processes, or two workers of one process,
// never hold it together. The kernel releases it when the process ends, in whatever
// way.
type DirLock struct {
	file *os.File
}

// LockDir locks an existing directory. It does not wait: when the directory is
// locked the error is ErrInUse, with the present owner's description. owner is the
// caller's description, for messages.
func LockDir(dir, owner string) (*DirLock, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		user, _ := os.ReadFile(path)
		return nil, errors.Join(refused(dir, strings.TrimSpace(string(user)), err), f.Close())
	}
	line := fmt.Sprintf("%s, process %d\n", owner, os.Getpid())
	// The line is only for messages: a full disk must not keep the lock from being
	// taken.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(line), 0)
	}
	return &DirLock{file: f}, nil
}

func refused(dir, user string, err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("cannot lock directory %s: %w", dir, err)
	}
	if user == "" {
		user = "another process"
	}
	return fmt.Errorf("cannot lock directory %s: %w by %s: stop it, or choose another directory", dir, ErrInUse, user)
}

// Stat describes the lock's open file, even if its path has changed.
func (l *DirLock) Stat() (os.FileInfo, error) { return l.file.Stat() }

// Unlock releases the directory. The file stays: if it were removed, two owners
// could lock two files of one name.
func (l *DirLock) Unlock() error { return l.file.Close() }

// Unused keeps a directory from being used until free is called, without changing
// anything in it. The error is ErrInUse when the directory is in use.
func Unused(dir string) (free func() error, err error) {
	path := filepath.Join(dir, LockName)
	if err := MustBeRegular(path); err != nil {
		return nil, fmt.Errorf("cannot lock directory %s: %w", dir, err)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		user, _ := io.ReadAll(f)
		return nil, errors.Join(refused(dir, string(bytes.TrimSpace(user)), err), f.Close())
	}
	return f.Close, nil
}
