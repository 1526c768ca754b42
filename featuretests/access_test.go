package featuretests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/testport"
)

// TestAFoundedClusterAdmitsOnlyTokens plays what 'agent init' prints: the operator's
// token makes another one, whose rules hold until it is revoked.
func TestAFoundedClusterAdmitsOnlyTokens(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "n1")
	ports := testport.Ports(t, 2)
	api, cluster := fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1])
	if out, err := exec.Command(path, "agent", "init", "--data-dir", dir, "--id", "n1", "--api", api, "--cluster", cluster).CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	agent := exec.Command(path, "agent", "run", "--config", filepath.Join(dir, "interrex.yaml"))
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.Process.Signal(syscall.SIGTERM); _ = agent.Wait() })
	dial := func(file string) *client.Client {
		c, err := client.Dial(t.Context(), client.Config{Addresses: []string{"https://" + api}, TLS: client.TLSFiles{CA: filepath.Join(dir, "ca.pem")}, TokenFile: file})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	operator := dial(filepath.Join(dir, "operator.token"))
	rule, err := interrex.ParseAccessRule("lease:claim:default/web*:own")
	if err != nil {
		t.Fatal(err)
	}
	secret, token, err := operator.Tokens().Create(ctx, interrex.AccessTokenRequest{Name: "web", Rules: []interrex.AccessRule{rule}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "web.token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	web := dial(file)
	claim := func(by *client.Client, name, holder string) interrex.Kind {
		_, err := by.Leases().Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Namespace: "default", Name: name}, Holder: holder, TTL: time.Minute})
		return interrex.KindOf(err)
	}
	for what, got := range map[string][2]interrex.Kind{
		"nobody":       {claim(dial(""), "web1", "web"), interrex.ErrUnauthenticated},
		"its own":      {claim(web, "web1", "web"), ""},
		"another key":  {claim(web, "db", "web"), interrex.ErrDenied},
		"another name": {claim(web, "web2", "bob"), interrex.ErrDenied},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", what, got[0], got[1])
		}
	}
	if _, err := operator.Tokens().Revoke(ctx, token.ID); err != nil {
		t.Fatal(err)
	}
	got := claim(web, "web1", "web")
	if got == interrex.ErrOutcomeUnknown { // it was sent just before the stream ended
		got = claim(web, "web1", "web")
	}
	if got != interrex.ErrUnauthenticated {
		t.Errorf("after the revocation: %q", got)
	}
}

// TestAnAgentThatIsCutOffRefusesTokens: it cannot know which ones were revoked, also of
// a stream that is open. Its socket needs none, and it heals by itself.
func TestAnAgentThatIsCutOffRefusesTokens(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, nil)
	socket := f.socket(0)
	f.mustRun("settings", "set", "access.max-silence", "5s", "--addr", socket)
	secret := f.mustRun("token", "create", "--operator", "--name", "op", "--addr", socket)
	by, err := client.Dial(t.Context(), client.Config{Addresses: []string{"http://" + f.members[0].config.API.Listen}, Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = by.Close() })
	read := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := by.Leases().List(ctx, interrex.ListRequest{ReadOptions: interrex.ReadOptions{Consistency: interrex.Eventual}})
		return err
	}
	f.eventually("this agent knows that there is a token", func() bool {
		_, said := f.printed("lease", "list", "--eventual", "--addr", "http://"+f.members[0].config.API.Listen)
		return strings.Contains(said, "needs an access token")
	})
	f.eventually("the token is accepted", func() bool { return read() == nil })
	for _, i := range []int{1, 2} {
		f.kill(i)
	}
	f.eventually("the token is refused", func() bool {
		err := read()
		return interrex.KindOf(err) == interrex.ErrUnavailable && strings.Contains(err.Error(), "of 5 s allowed, and accepts no access tokens")
	})
	f.mustRun("lease", "list", "--eventual", "--addr", socket)
	f.eventually("there is an alarm", func() bool {
		out, _ := f.printed("status", "--addr", socket)
		return strings.Contains(out, "ALARM access-stale")
	})
	for _, i := range []int{1, 2} {
		f.start(i)
	}
	f.eventually("the token is accepted again", func() bool { return read() == nil })
}
