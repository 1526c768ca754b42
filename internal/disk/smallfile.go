package disk

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// MaxSmall is the largest file that ReadSmall reads, in bytes.
const MaxSmall = 1 << 20

// ReadSmall reads a file that an operator has named: a regular file, or a symbolic
// link to one, of MaxSmall bytes at most. It never waits, as the reader of a named
// pipe does.
func ReadSmall(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSmall+1))
	if len(data) > MaxSmall {
		return nil, fmt.Errorf("%s exceeds the limit of %d bytes", path, MaxSmall)
	}
	return data, err
}
