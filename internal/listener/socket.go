package listener

import (
	"errors"
	"io/fs"
	"net"
	"os"
)

// Socket listens on a Unix socket that only this user can use, in place of what a
// killed process has left at the path, if replaceable returns no error for it.
func Socket(path string, replaceable func(path string) error) (net.Listener, error) {
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
