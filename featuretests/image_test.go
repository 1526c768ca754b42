package featuretests

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/testport"
)

// image is what a Dockerfile makes of an empty directory.
type image struct {
	files   map[string]string // by path in the image, what is copied there
	env     []string
	volumes []string
	command []string
}

// readImage reads the Dockerfile of this repository.
func readImage(t *testing.T) (m image) {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m.files = map[string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] == "#" {
			continue
		}
		list := strings.Split(strings.Trim(strings.Join(words[1:], ""), "[]"), ",")
		for i := range list {
			list[i] = strings.Trim(list[i], `"`)
		}
		switch words[0] {
		case "FROM":
			if words[1] != "scratch" {
				t.Fatalf("it begins with %s", words[1])
			}
		case "COPY":
			m.files[words[2]] = words[1]
		case "ENV":
			m.env = append(m.env, words[1])
		case "VOLUME":
			m.volumes = append(m.volumes, words[1])
		case "ENTRYPOINT", "CMD":
			m.command = append(m.command, list...)
		case "EXPOSE":
		default:
			t.Fatalf("what is %s?", words[0])
		}
	}
	return m
}

// unpack makes the image's files in a directory.
func (m image) unpack(t *testing.T, root string) {
	t.Helper()
	for to, from := range m.files {
		if from != "bin/interrex" {
			t.Fatalf("%s is copied", from)
		}
		b, err := os.ReadFile(static(t))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, to), b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range m.volumes {
		if err := os.MkdirAll(filepath.Join(root, v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// static returns the path of a binary that needs no library.
func static(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "interrex")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/interrex")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build interrex: %v\n%s", err, out)
	}
	return path
}

// In the image there is the binary and nothing else, and it is process 1.
func TestAnAgentRunsInTheImage(t *testing.T) {
	m, root := readImage(t), t.TempDir()
	m.unpack(t, root)
	api := fmt.Sprintf("127.0.0.1:%d", testport.Ports(t, 1)[0])
	cmd := exec.Command(m.command[0], m.command[1:]...)
	cmd.Dir, cmd.Env = "/", append(slices.Clone(m.env), "INTERREX_API_LISTEN="+api, "INTERREX_CLUSTER_LISTEN=127.0.0.1:0")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, io.Writer(&log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{Addresses: []string{"http://" + api}, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Leases().Claim(ctx, interrex.ClaimRequest{Key: key("app/db"), Holder: "ann"}); err != nil {
		t.Errorf("a claim: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, m.volumes[0], "interrex.sock")); err != nil {
		t.Errorf("its data is elsewhere: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if t.Failed() {
		t.Logf("it said:\n%s", log.String())
	}
}
