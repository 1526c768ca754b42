package listener

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// free allows what check.FreeSocket does, as far as these tests need it.
func free(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil
	}
	_ = c.Close()
	return errors.New("another process listens there")
}

func TestOfTwoWhoListenAtOnceTheSecondIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for round := range 50 {
		dead, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		dead.(*net.UnixListener).SetUnlinkOnClose(false)
		_ = dead.Close()
		var all sync.WaitGroup
		got := make([]net.Listener, 4)
		for i := range got {
			all.Go(func() { got[i], _ = Socket(path, free) })
		}
		all.Wait()
		won := 0
		for _, l := range got {
			if l == nil {
				continue
			}
			won++
			if free(path) == nil {
				t.Errorf("round %d: the one that listens cannot be reached", round)
			}
			_ = l.Close()
		}
		if won != 1 {
			t.Fatalf("round %d: %d listen", round, won)
		}
	}
}

func TestASocketIsForItsUserAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Socket(path, free)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := Socket(filepath.Join(dir, "nosuch", "s"), free); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}
