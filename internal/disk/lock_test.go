package disk

import (
	"errors"
	"strings"
	"testing"
)

func TestADirectoryHasOneUser(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockDir(dir, "agent a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDir(dir, "agent b")
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "by agent a, process ") {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	lock, err = LockDir(dir, "agent b")
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}
