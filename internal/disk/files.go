package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files is the steps of replacing a small file so that a crash leaves the old
// content or the new. A test crashes between any two of them.
type Files interface {
	// WriteSync writes a whole file; its content is on disk when it returns.
	WriteSync(path string, data []byte) error
	Rename(from, to string) error
	// Sync syncs a file's content to disk, or the names in a directory.
	Sync(path string) error
}

// Replace replaces a file's content atomically.
func Replace(f Files, path string, data []byte) error {
	staged := path + Staged
	if err := f.WriteSync(staged, data); err != nil {
		return err
	}
	if err := f.Rename(staged, path); err != nil {
		return err
	}
	return f.Sync(filepath.Dir(path))
}

// ReplaceFile replaces a file's content atomically and durably. The error is one of
// the disk's; what describes the operation in it.
func ReplaceFile(what, path string, data []byte) error {
	return Classify(what, Replace(OS{}, path, data))
}

// Staged is the suffix of the name of a file that is being written. One that a
// crash has left is overwritten.
const Staged = ".new"

// OS is the files of this machine, readable only by their owner.
type OS struct {
	NoSync bool // omits fsync
}

// WriteSync implements Files.
func (o OS) WriteSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && !o.NoSync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Rename implements Files.
func (o OS) Rename(from, to string) error { return os.Rename(from, to) }

// Sync implements Files.
func (o OS) Sync(path string) error {
	if o.NoSync {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// ReadFile returns a file's content; nil with no error: there is no file.
func ReadFile(path string) ([]byte, error) {
	if err := MustBeRegular(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// MustBeRegular returns an error if path exists and is not a regular file: opening
// a named pipe would wait for its writer.
func MustBeRegular(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}

// MakePrivate creates a directory, and its parents, accessible only to their owner.
func MakePrivate(dir string) error { return os.MkdirAll(dir, 0o700) }

// Named returns the paths of what a directory has whose name ends in suffix, sorted; none
// if there is no such directory.
func Named(dir, suffix string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}
