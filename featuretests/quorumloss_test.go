package featuretests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testport"
)

// Two of three agents are lost. The third is recovered, and tokens still increase. The
// two are started after all: they and the survivor reject each other. They join again,
// with their directories.
func TestAClusterIsRecoveredFromItsOnlySurvivor(t *testing.T) {
	f := enrolled(t, 3)
	before := f.mustRun("lease", "claim", "app/db", "--ttl", "5s", "-q", "--addr", f.socket(0))
	f.refuses("in use by", "--cluster-id", "any")
	f.kill(0)
	f.leader(1, 2)
	f.refuses("the cluster is not lost", "--cluster-id", "any")
	f.kill(1)
	f.kill(2)
	f.refuses("not of \"another\"", "--cluster-id", "another")
	if kept, _ := filepath.Glob(filepath.Join(f.data(0), "before-recovery-*")); len(kept) > 0 {
		t.Errorf("a recovery that was not allowed leaves %v", kept)
	}
	var plan struct {
		Directories []struct {
			ID      string
			Cluster string `json:"cluster_id"`
		}
	}
	if err := json.Unmarshal([]byte(f.mustRun("recover", "plan", "--data-dir", f.data(0), "-o", "json")), &plan); err != nil || len(plan.Directories) != 1 {
		t.Fatalf("the plan is %+v, %v", plan, err)
	}
	f.mustRun("recover", "apply", "--data-dir", f.data(0), "--cluster-id", plan.Directories[0].Cluster, "--yes")
	f.start(0)
	f.answers(0)
	f.start(1)
	f.start(2)
	f.leader(1, 2)
	after := f.mustRun("lease", "claim", "app/db", "--wait", "2m", "--timeout", "3m", "-q", "--addr", f.socket(0))
	if len(after) < len(before) || len(after) == len(before) && after <= before {
		t.Errorf("token %s after %s", after, before)
	}
	f.logged(0, "the cluster was recovered without the agent in the lower epoch")
	f.logged(1, "the cluster was recovered without the agent in the lower epoch")

	token := filepath.Join(f.dir, "token")
	out, said := f.printed("join-token", "create", "--uses", "2", "--addr", f.socket(0))
	if err := os.WriteFile(token, []byte(out+said), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 2} {
		f.kill(i)
		m := f.members[i].config
		f.mustRun("agent", "join", f.members[0].config.Cluster.Listen, "--token-file", token, "--data-dir", f.data(i), "--id", f.id(i), "--api", m.API.Listen, "--cluster", m.Cluster.Listen)
		if _, err := os.Stat(filepath.Join(f.data(i), "before-join", "identity.json")); err != nil {
			t.Errorf("what %s had is not set aside: %v", f.id(i), err)
		}
		f.start(i)
	}
	f.allVote(1)
}

// enrolled starts agents that were made by 'agent init' and 'agent join'.
func enrolled(t *testing.T, n int) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir}
	t.Cleanup(f.end)
	ports := testport.Ports(t, 2*n)
	for i := range n {
		c := config.Default()
		c.Agent = config.Agent{ID: fmt.Sprintf("n%d", i+1), DataDir: filepath.Join(dir, fmt.Sprintf("n%d", i+1))}
		c.API.Listen, c.Cluster.Listen = fmt.Sprintf("127.0.0.1:%d", ports[i]), fmt.Sprintf("127.0.0.1:%d", ports[n+i])
		f.members = append(f.members, &member{config: c, file: filepath.Join(c.Agent.DataDir, "interrex.yaml"), log: filepath.Join(dir, c.Agent.ID+".log")})
		where := []string{"--data-dir", c.Agent.DataDir, "--id", c.Agent.ID, "--api", c.API.Listen, "--cluster", c.Cluster.Listen}
		if i == 0 {
			f.mustRun(append([]string{"agent", "init"}, where...)...)
		} else {
			f.mustRun(append([]string{"agent", "join", f.members[0].config.Cluster.Listen, "--token-file", filepath.Join(f.data(0), "join.token")}, where...)...)
		}
		f.start(i)
		f.answers(i)
	}
	f.allVote(0)
	return f
}

// allVote waits until every member has a vote, as member i sees it.
func (f *fleet) allVote(i int) {
	f.t.Helper()
	f.eventually("all have a vote", func() bool {
		out, _ := f.printed("member", "list", "--addr", f.socket(i))
		return strings.Count(out, " voter ")+strings.Count(out, " leader ") == len(f.members)
	})
}

func (f *fleet) data(i int) string { return f.members[i].config.Agent.DataDir }

// printed runs a command and returns what it prints.
func (f *fleet) printed(args ...string) (out, said string) {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), stderr.String() + err.Error()
	}
	return stdout.String(), stderr.String()
}

// mustRun runs a command that must succeed.
func (f *fleet) mustRun(args ...string) string {
	f.t.Helper()
	out, said := f.printed(args...)
	if strings.Contains(said, "exit status") {
		f.t.Fatalf("%v: %s", args, said)
	}
	return strings.TrimSpace(out)
}

// refuses checks that the first agent is not recovered, and why.
func (f *fleet) refuses(why string, flags ...string) {
	f.t.Helper()
	_, said := f.printed(append([]string{"recover", "apply", "--data-dir", f.data(0)}, flags...)...)
	if !strings.Contains(said, "exit status") || !strings.Contains(said, why) {
		f.t.Errorf("recover apply says %q, not %q", said, why)
	}
}

// eventually waits until something is so.
func (f *fleet) eventually(what string, so func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
