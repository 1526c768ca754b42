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

// DirLock keeps a directory for one user: two processes, or two workers of one
// process, never have it together. The kernel lifts it when the process ends,
// however it ends.
type DirLock struct {
	file *os.File
}

// LockDir locks a directory that exists. It does not wait: the error is
// ErrInUse, with what the present user says of itself, when somebody
// has it. owner is that line, for people.
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
	// The line is for people only: a disk that takes no more must not keep
	// the lock from being taken.
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
		user = "somebody"
	}
	return fmt.Errorf("cannot lock directory %s: %w by %s: stop that one, or choose another directory", dir, ErrInUse, user)
}

// Stat returns what is known of the lock's file, wherever it is now.
func (l *DirLock) Stat() (os.FileInfo, error) { return l.file.Stat() }

// Unlock releases the directory. The file stays: removing it would let two
// users lock two files of one name.
func (l *DirLock) Unlock() error { return l.file.Close() }

// Unused keeps a directory from being used until free is called, and changes
// nothing in it. The error is ErrInUse when somebody has it.
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
