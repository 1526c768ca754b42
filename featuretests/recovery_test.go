package featuretests

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// The only agent of a cluster does not start with a damaged log. A repair says what
// is lost, and continues without it; tokens increase, and a client that knew the
// agent before continues.
func TestALoneAgentIsRecoveredFromADamagedLog(t *testing.T) {
	f := newFleet(t, 1, nil)
	dir := f.members[0].config.Agent.DataDir
	c := f.client()
	leases := c.Leases()
	var last interrex.Token
	for _, name := range []string{"app/a", "app/b", "app/lost", "app/late"} {
		won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(name), Holder: "ann", TTL: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		last = won.Lease.Token
	}
	if text, err := repair(t, dir); err == nil || !strings.Contains(text, "in use by agent n1") {
		t.Errorf("while the agent runs: %v\n%s", err, text)
	}
	f.kill(0)
	damage(t, filepath.Join(dir, "raft"), "lost")
	f.start(0)
	f.logged(0, "this agent is the only voter, and no other agent has the entries that it lacks")
	f.signal(0, syscall.SIGTERM)
	f.exit(0)

	text, err := repair(t, dir, "-o", "json")
	var seen struct {
		Verdict, Apply string
		Short, Alone   bool
	}
	if err != nil || json.Unmarshal([]byte(text), &seen) != nil || seen.Verdict != "needs a recovery" || !seen.Short || !seen.Alone || !strings.Contains(seen.Apply, "are lost") {
		t.Fatalf("%v\n%s", err, text)
	}
	if text, err = repair(t, dir, "--apply"); err != nil || !strings.Contains(text, "epoch 1, from revision") {
		t.Fatalf("%v\n%s", err, text)
	}
	f.start(0)
	asked := time.Now()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/lost"), Holder: "bob", TTL: time.Second, Wait: 2 * time.Minute})
	if err != nil || won.Lease.Token <= last {
		t.Errorf("the next grant is %+v, %v, after token %d", won, err, last)
	}
	if pause := time.Since(asked); pause < 25*time.Second {
		t.Errorf("it was granted after %s", pause)
	}
	if past, _, err := leases.History(t.Context(), key("app/a")); err != nil || len(past) != 1 {
		t.Errorf("what is proved has %+v, %v", past, err)
	}
}

// repair runs the command and returns its output.
func repair(t *testing.T, dir string, more ...string) (string, error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"agent", "repair", "--data-dir", dir}, more...)...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	if err != nil {
		return said.String(), err
	}
	return out.String(), nil
}

// damage flips a bit in the log's first entry that contains a text.
func damage(t *testing.T, dir, text string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			b[i] ^= 4
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no entry has %q", text)
}
