package featuretests

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/authority"
)

// TestAnAgentWithoutRaftStopsAndLeavesAtOnce stops one while a watch and a claim that waits
// go through it, and then has it leave.
func TestAnAgentWithoutRaftStopsAndLeavesAtOnce(t *testing.T) {
	f := enrol(t, 1)
	i := f.addForwarder("f1", withToken(f.path(0, "operator.token")))
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	here, there := f.client(0), f.client(i)
	first := claimKey(t, here, "mine/taken")
	watch, err := there.Leases().Watch(ctx, interrex.WatchRequest{Namespace: "mine", Since: first.Revision})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	waiting := make(chan error, 1)
	go func() {
		_, err := there.Leases().Claim(ctx, interrex.ClaimRequest{Key: key("mine/taken"), Holder: "bob", TTL: time.Minute, Wait: time.Minute})
		waiting <- err
	}()
	f.until("the claim waits", func() bool {
		out, _ := f.command("lease", "list", "mine", "-o", "json", "--addr", f.socket(0))
		return strings.Contains(out, `"waiting":1`) || strings.Contains(out, `"waiting": 1`)
	})
	f.signal(i, syscall.SIGTERM)
	if code := f.exit(i); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if log := f.tail(i, 100); strings.Contains(log, "the drain timed out") || strings.Contains(log, "still active") {
		t.Errorf("it waited for what does not end:\n%s", log)
	}
	f.start(i)
	second := claimKey(t, here, "mine/next")
	for {
		e, err := watch.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if e.Lease.Key == key("mine/next") {
			if e.Lease.Token != second.Lease.Token {
				t.Errorf("the watch has %+v", e)
			}
			break
		}
	}
	if _, err := here.Leases().Revoke(ctx, interrex.RevokeRequest{Key: key("mine/taken"), Token: first.Lease.Token}); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("the claim that waited: %v", err)
	}
	f.must("agent", "leave", "--addr", f.socket(i))
	f.exit(i)
	if out := f.must("member", "list", "--addr", f.socket(0)); strings.Contains(out, "f1") {
		t.Errorf("it is there still:\n%s", out)
	}
	f.start(i)
	f.until("its status says that it was removed", func() bool {
		out, _ := f.command("status", "--addr", f.socket(i))
		return strings.Contains(out, "or was removed: 'interrex agent join --forward'")
	})
	if out, err := f.command("lease", "list", "--addr", f.socket(i)); err == nil || !strings.Contains(out, "removed from cluster") {
		t.Errorf("its requests are not refused: %s", out)
	}
}

// claimKey claims a key for ann, for an hour.
func claimKey(t *testing.T, by *client.Client, name string) interrex.LeaseAnswer {
	t.Helper()
	answer, err := by.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(name), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// comeBack is the command that a status names, with its token's.
var comeBack = regexp.MustCompile(`run 'interrex (join-token create --for \S+) >FILE' on a member, and here 'interrex (agent join) ADDRESS --token-file FILE (--data-dir \S+ --forward)'`)

// TestAnAgentWithoutRaftThatARotationLeftOutSaysWhatBringsItBack runs what it says, while
// it runs.
func TestAnAgentWithoutRaftThatARotationLeftOutSaysWhatBringsItBack(t *testing.T) {
	f := enrol(t, 1)
	i := f.addForwarder("f1", withToken(f.path(0, "operator.token")))
	j := f.addForwarder("f2", withToken(f.path(0, "operator.token")))
	f.signal(i, syscall.SIGTERM)
	f.exit(i)
	if out, err := f.command("ca", "rotate", "--timeout", "5s", "--addr", f.socket(0)); err == nil || !strings.Contains(out, "leave it out with 'interrex ca rotate --without f1'") {
		t.Errorf("the rotation does not wait for it: %s", out)
	}
	f.must("ca", "rotate", "--without", "f1", "--timeout", "1m", "--addr", f.socket(0))
	if out := f.must("lease", "list", "--addr", f.socket(j)); !strings.Contains(out, "KEY") {
		t.Errorf("the one that was on: %s", out)
	}
	f.start(i)
	var words []string
	f.until("it says what brings it back", func() bool {
		out, _ := f.command("status", "--addr", f.socket(i))
		words = comeBack.FindStringSubmatch(out)
		return words != nil
	})
	before, token := f.read(f.members[i].file), filepath.Join(f.dir, "again.token")
	made := f.must(append(strings.Fields(words[1]), "--addr", f.socket(0))...)
	if err := os.WriteFile(token, []byte(made[max(0, strings.Index(made, "ixj1.")):]), 0o600); err != nil {
		t.Fatal(err)
	}
	f.must(append(append(strings.Fields(words[2]), f.clusterAddress(0), "--token-file", token), strings.Fields(words[3])...)...)
	f.until("it forwards again", func() bool {
		out, _ := f.command("status", "--addr", f.socket(i))
		return strings.Contains(out, "forwarding, ready")
	})
	if after := f.read(f.members[i].file); string(after) != string(before) {
		t.Errorf("its configuration is another one:\n%s", after)
	}
}

// TestAnAgentWithoutRaftRenewsItsCertificate makes its certificate older, while it runs and
// while it does not.
func TestAnAgentWithoutRaftRenewsItsCertificate(t *testing.T) {
	f := enrol(t, 1)
	i := f.addForwarder("f1", nil)
	f.age(i, time.Now().Add(-authority.CertLife*7/10))
	old := f.certificate(i).Leaf.SerialNumber
	f.until("it is renewed", func() bool { return f.certificate(i).Leaf.SerialNumber.Cmp(old) != 0 })
	f.signal(i, syscall.SIGTERM)
	f.exit(i)
	f.age(i, time.Now().Add(-authority.CertLife-24*time.Hour))
	f.start(i)
	f.until("it says that it has ended, and what brings it back", func() bool {
		out, _ := f.command("status", "--addr", f.socket(i))
		return strings.Contains(out, "ALARM certificate-ending") && comeBack.MatchString(out)
	})
}
