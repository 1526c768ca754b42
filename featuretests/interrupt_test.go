package featuretests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex/client"
)

// The command waits for the rest of a file, or for the ID that confirms it. A signal ends it
// at once, nothing has changed, and what it has sent is dropped.
func TestARestoreThatWaitsForItsInputEndsOnASignal(t *testing.T) {
	f := newFleet(t, 1, nil)
	c := f.client()
	values(t, client.KV{By: c}, "saved/", 3)
	path := filepath.Join(f.dir, "x.snap")
	file := f.save(0, "x.snap")
	values(t, client.KV{By: c}, "later/", 1)
	stderr, err := os.Create(filepath.Join(f.dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	for _, one := range []struct {
		args  []string
		input []byte
		waits func() bool
	}{
		{[]string{"snapshot", "restore", "-", "--yes"}, file[:len(file)-1], func() bool { return stagedBytes(t, c) > 0 }},
		{[]string{"snapshot", "restore", path}, nil, func() bool {
			said, err := os.ReadFile(stderr.Name())
			return err == nil && strings.Contains(string(said), "type its ID: ")
		}},
	} {
		in, input, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := f.at(0, one.args...)
		cmd.Stdin, cmd.Stderr = in, stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(input, bytes.NewReader(one.input)) }() // it may end before
		eventually(t, fmt.Sprintf("%q waits", one.args), func() error {
			if !one.waits() {
				return errors.New("it does not")
			}
			return nil
		})
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatalf("%q has not ended", one.args)
		}
		if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
			t.Errorf("%q ends with %d", one.args, code)
		}
		_, _ = in.Close(), input.Close()
		if n := stagedBytes(t, c); n > 0 {
			t.Errorf("%q leaves %d bytes", one.args, n)
		}
		if err := lacks(t, c); err == nil {
			t.Errorf("%q has restored the file", one.args)
		}
	}
}
