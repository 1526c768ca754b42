package raftdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// files are the steps of replacing a small file so that a crash leaves the
// old content or the new. A test crashes between any two of them.
type files interface {
	// WriteSync writes a file from its beginning; its content is on disk when
	// it returns.
	WriteSync(path string, data []byte) error
	Rename(from, to string) error
	// SyncDir puts the names in a directory on disk.
	SyncDir(dir string) error
}

// replaceFile replaces a file's content atomically.
func replaceFile(f files, path string, data []byte) error {
	staged := path + stagedSuffix
	if err := f.WriteSync(staged, data); err != nil {
		return err
	}
	if err := f.Rename(staged, path); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// ReplaceFile replaces a file's content, whole and on disk, or leaves the one
// that is there. The error is one of the disk's, and says what was to be done.
func ReplaceFile(what, path string, data []byte) error {
	return classify(what, replaceFile(osFiles{}, path, data))
}

// stagedSuffix is the end of the name of a file that is being written. One
// that a crash has left is written over.
const stagedSuffix = ".new"

// osFiles are the files of this machine, readable only by their owner.
type osFiles struct {
	noSync bool
}

func (o osFiles) WriteSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && !o.noSync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (o osFiles) Rename(from, to string) error { return os.Rename(from, to) }

func (o osFiles) SyncDir(dir string) error {
	if o.noSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadFile returns a file's content; nil and no error: there is none.
func ReadFile(path string) ([]byte, error) {
	if err := mustBeRegular(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// mustBeRegular refuses what is there and no file: to open a named pipe is to
// wait for its writer.
func mustBeRegular(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", path)
	}
	return nil
}

// MakePrivate makes a directory, and those above it, for their owner alone.
func MakePrivate(dir string) error { return os.MkdirAll(dir, 0o700) }
