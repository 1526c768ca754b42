package featuretests

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/manifolds"
)

// The report over the socket, as an operator requests it, names every worker and
// follows what happens to them.
func TestReportIsTrueAndLive(t *testing.T) {
	f := newFleet(t, 1, func(_ int, c *config.Config) {
		c.Notify.LeaseHolders = "sqlite"
		c.Features.Backstop, c.Backstop.Members = config.On, []string{"n1"}
		c.Backup.To = t.TempDir()
	})
	all, err := agent.NewWorkers(agent.Config{}, "")
	if err != nil {
		t.Fatal(err)
	}
	workers := f.report()
	for name, m := range all.Manifolds {
		w, there := workers[name]
		if !there {
			t.Errorf("the report does not name %s", name)
			continue
		}
		if len(w.Inputs) != len(m.Inputs) {
			t.Errorf("%s has the inputs %v, the report says %v", name, m.Inputs, w.Inputs)
		}
		f.shows(0, name, "started", "")
	}

	raft := f.worker(0, manifolds.RaftName)
	f.members[0].config.Raft.SnapshotRetention++
	f.write(f.members[0])
	if _, err := f.client(0).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the report shows that raft was restarted", func() error {
		w := f.worker(0, manifolds.RaftName)
		if w.GetState() != "started" || w.GetStarts() != raft.GetStarts()+1 {
			return fmt.Errorf("it is %s, after %d starts", w.GetState(), w.GetStarts())
		}
		return nil
	})
}

// reported is a worker in the JSON of `interrex agent report`.
type reported struct {
	Name   string
	State  string
	Inputs []string
}

// report returns member 0's report, from the command line.
func (f *fleet) report() map[string]reported {
	f.t.Helper()
	cmd, said := f.run(0, "agent", "report", "-o", "json")
	if err := cmd.Wait(); err != nil {
		f.t.Fatalf("agent report: %v\n%s", err, said)
	}
	var answer struct{ Workers []reported }
	if err := json.Unmarshal(said.Bytes(), &answer); err != nil {
		f.t.Fatalf("%v in %s", err, said)
	}
	workers := map[string]reported{}
	for _, w := range answer.Workers {
		workers[w.Name] = w
	}
	return workers
}

func TestMetricsAreServedOnPortAndSocket(t *testing.T) {
	f := newFleet(t, 1, nil)
	if _, err := f.client().Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann"}); err != nil {
		t.Fatal(err)
	}
	c := f.members[0].config
	socket := &http.Client{Transport: &http.Transport{Dial: func(string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(c.Agent.DataDir, "interrex.sock"))
	}}}
	for where, text := range map[string]string{
		"port":   fetch(t, http.DefaultClient, "http://"+c.API.Listen+"/metrics"),
		"socket": fetch(t, socket, "http://socket/metrics"),
	} {
		for _, line := range []string{
			`interrex_build_info{`, `interrex_raft_state{state="leader"} 1`, `interrex_raft_term `,
			`interrex_raft_commit_index `, `interrex_raft_applied_index `, `interrex_raft_leader_changes_total `,
			`interrex_raft_leader_last_contact_seconds `, `interrex_raft_apply_duration_seconds_count`,
			`interrex_log_fsync_duration_seconds_count `, `interrex_revision `, `interrex_queue_depth{lane=`,
			`interrex_batch_operations_count `, `interrex_leases{namespace="app"} 1`,
			`interrex_lease_ops_total{op="claim",result="ok"} 1`, `interrex_lease_expired_total `,
			`interrex_lease_overstayed_total `, `interrex_lease_renew_slack_seconds_count `, `interrex_lease_waiters `,
			`interrex_watchers `, `interrex_worker_starts_total{worker="raft"} 1`, `interrex_worker_up{worker="raft"} 1`,
			`interrex_disk_free_bytes`, `go_goroutines `, `process_start_time_seconds `,
		} {
			if !strings.Contains(text, line) {
				t.Errorf("the metrics on the %s have no %s", where, line)
			}
		}
		if strings.Contains(text, "app/db") {
			t.Errorf("the metrics on the %s have a lease's name", where)
		}
	}
}

func fetch(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s (%v): %s", url, resp.Status, err, text)
	}
	return string(text)
}
