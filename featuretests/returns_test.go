package featuretests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testport"
)

// The disk of an agent is lost. It returns under its name, with a token that was made
// for it, also while another one is slow; nothing that was acknowledged is lost, and
// nobody takes the place of an agent that runs.
func TestAnAgentWithoutItsDiskReturnsUnderItsName(t *testing.T) {
	t.Parallel()
	f := enrol(t, 3)
	leases := f.client(0, 2).Leases()
	var claimed []interrex.Token
	claim := func() {
		t.Helper()
		got, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("app/", len(claimed))), Holder: "ann", TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		claimed = append(claimed, got.Lease.Token)
	}
	claim()
	f.notReplaced(1)
	for _, slow := range []bool{false, true} {
		f.kill(1)
		if err := os.RemoveAll(f.data(1)); err != nil {
			t.Fatal(err)
		}
		claim()
		returns := f.rejoin(1, "--for", "n1")
		if slow {
			f.signal(2, syscall.SIGSTOP)
			time.Sleep(2 * time.Second)
			f.signal(2, syscall.SIGCONT)
		}
		if err := <-returns; err != nil {
			t.Fatal(err)
		}
		f.start(1)
		f.until("it has a vote again", func() bool {
			out, _ := f.command("member", "list", "--addr", f.socket(0))
			return strings.Contains(out, "n1  voter") || strings.Contains(out, "n1  leader")
		})
		claim()
	}
	f.until("it has everything", func() bool {
		for n, token := range claimed {
			got, _, err := f.client(1).Leases().Get(t.Context(), key(fmt.Sprint("app/", n)), interrex.ReadOptions{})
			if err != nil || got.Token != token {
				t.Logf("app/%d: %v, %v", n, got, err)
				return false
			}
		}
		return true
	})
	f.kill(0) // and its vote counts
	f.leader(1, 2)
}

// rejoin starts to join member i anew, into its directory.
func (f *fleet) rejoin(i int, flags ...string) <-chan error {
	f.t.Helper()
	done := make(chan error, 1)
	cmd := f.joining(i, f.data(i), flags...)
	go func() {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		done <- err
	}()
	return done
}

// joining returns the command that joins member i into a directory, with a new token.
func (f *fleet) joining(i int, dir string, flags ...string) *exec.Cmd {
	f.t.Helper()
	token := filepath.Join(f.dir, fmt.Sprint("token-", time.Now().UnixNano()))
	out := f.must(append([]string{"join-token", "create", "--addr", f.socket(0)}, flags...)...)
	if err := os.WriteFile(token, []byte(out), 0o600); err != nil {
		f.t.Fatal(err)
	}
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	ports := testport.Ports(f.t, 2)
	return exec.Command(path, "agent", "join", f.firstAddress(), "--token-file", token, "--data-dir", dir, "--id", f.id(i),
		"--api", fmt.Sprint("127.0.0.1:", ports[0]), "--cluster", fmt.Sprint("127.0.0.1:", ports[1]))
}

// firstAddress returns the cluster address of the first member.
func (f *fleet) firstAddress() string {
	f.t.Helper()
	status, err := f.status(0)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range status.GetMembers() {
		if m.GetId() == f.id(0) {
			return m.GetAddress()
		}
	}
	f.t.Fatal("the first member does not know its address")
	return ""
}

// notReplaced checks that a stranger with a token for member i does not take its place
// while it runs, and one without such a token never does.
func (f *fleet) notReplaced(i int) {
	f.t.Helper()
	other := filepath.Join(f.dir, "stranger")
	if out, err := f.joining(i, other).CombinedOutput(); err == nil || !strings.Contains(string(out), "--for "+f.id(i)) {
		f.t.Errorf("with any token: %v, %s", err, out)
	}
	cmd := f.joining(i, other, "--for", f.id(i))
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	f.logged(0, "is running, with another data directory")
	if out := f.must("member", "list", "--addr", f.socket(0)); strings.Contains(out, "leaving") || strings.Count(out, "voter") != 2 {
		f.t.Errorf("the members are\n%s", out)
	}
}
