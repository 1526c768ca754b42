package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/disk"
)

func TestOnlyARegularFileOfAllowedSizeIsRead(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"largest": disk.MaxSmall, "larger": disk.MaxSmall + 1} {
		if err := os.WriteFile(in(name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": "largest", "link-to-pipe": "pipe"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, why := range map[string]string{
		in("largest"): "", in("link"): "",
		in("larger"):       "exceeds the limit of 1048576 bytes",
		in("pipe"):         "is not a regular file",
		in("link-to-pipe"): "is not a regular file",
		dir:                "is not a regular file",
		"/dev/zero":        "is not a regular file",
		in("none"):         "no such file",
	} {
		read := make(chan error, 2)
		go func() {
			_, err := disk.ReadSmall(path)
			read <- err
			_, err = config.Source{Path: path}.Load()
			read <- err
		}()
		for range 2 {
			select {
			case err := <-read:
				if why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
					t.Errorf("%s: got %v, want %q", path, err, why)
				}
				if why == "" && err != nil && !strings.Contains(err.Error(), "control characters") {
					t.Errorf("%s: %v", path, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: the reader hangs", path)
			}
		}
	}
}
