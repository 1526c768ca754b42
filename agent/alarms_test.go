package agent_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/interrextest"
)

// awaitAlarm waits until an alarm is raised, or is over when text is empty.
func awaitAlarm(t *testing.T, a *agent.Agent, name, subject, text string) interrex.Alarm {
	t.Helper()
	for end := time.Now().Add(interrextest.Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // a poll
		raised := false
		for _, is := range a.Status().Alarms {
			if is.Name != name || is.Subject != subject {
				continue
			}
			raised = true
			if text != "" && strings.Contains(is.Text, text) {
				return is
			}
		}
		if text == "" && !raised {
			return interrex.Alarm{}
		}
	}
	t.Fatalf("agent %s: want alarm %s %s with %q, it has %v", a.ID(), name, subject, text, a.Status().Alarms)
	return interrex.Alarm{}
}

func TestASilentMemberAndALostQuorumAreAlarmsOnEveryAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := interrextest.StartCluster(t, interrextest.ClusterConfig{Virtual: true})
		left, second, first := c.Agent(c.Leader()), (c.Leader()+1)%3, (c.Leader()+2)%3
		began := time.Now()
		c.Kill(first)
		for _, i := range []int{c.Leader(), second} {
			a := c.Agent(i)
			is := awaitAlarm(t, a, "member-silent", c.Agent(first).ID(), c.Agent(first).ID()+":1")
			if is.Do == "" || is.Since.Before(began.Add(-5*time.Second)) || time.Since(is.Since) < time.Second {
				t.Errorf("agent %s: %+v", a.ID(), is)
			}
			for _, m := range a.Status().Members {
				if m.Silent != (m.ID == c.Agent(first).ID()) {
					t.Errorf("agent %s: %+v", a.ID(), m)
				}
			}
			if q := a.Status().Quorum; !strings.Contains(q, "2 responding, tolerates no failure") {
				t.Errorf("agent %s: quorum: %s", a.ID(), q)
			}
		}
		for _, i := range []int{c.Leader(), second} {
			for _, is := range c.Agent(i).Status().Alarms {
				if is.Name != "member-silent" {
					t.Errorf("agent %s has the alarm %s", c.Agent(i).ID(), is)
				}
			}
		}
		w := httptest.NewRecorder()
		left.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		silent := func(id string) float64 {
			t.Helper()
			_, rest, _ := strings.Cut(w.Body.String(), `interrex_member_silent_seconds{member="`+id+`"} `)
			line, _, _ := strings.Cut(rest, "\n")
			n, err := strconv.ParseFloat(line, 64)
			if err != nil {
				t.Errorf("how long %s is silent: %v", id, err)
			}
			return n
		}
		if n := silent(c.Agent(first).ID()); n < peering.ProbeTime.Seconds() || silent(c.Agent(second).ID()) >= n {
			t.Errorf("it is silent for %v s, and the other one for %v s", n, silent(c.Agent(second).ID()))
		}
		if text := `member="` + left.ID() + `"`; strings.Contains(w.Body.String(), text) {
			t.Errorf("an agent is silent to itself: %s", text)
		}
		c.Kill(second)
		awaitAlarm(t, left, "quorum-lost", "", "2 of 3 voters must be able to reach each other; silent: n")
		c.Start(second)
		awaitAlarm(t, left, "quorum-lost", "", "")
		awaitAlarm(t, left, "member-silent", c.Agent(second).ID(), "")
		c.Start(first)
		awaitAlarm(t, left, "member-silent", c.Agent(first).ID(), "")
		awaitAlarm(t, c.Agent(first), "quorum-lost", "", "")
	})
}

func TestAnAgentWithoutAQuorumDoesNotFloodItsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		said := map[string]int{}
		c := interrextest.StartCluster(t, interrextest.ClusterConfig{Virtual: true, Configure: func(i int, c *agent.Config) {
			c.Logger = loggo.NewContext(loggo.INFO)
			_ = c.Logger.AddWriter("test", writer(func(e loggo.Entry) {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasSuffix(e.Module, "raft") {
					said[c.ID+e.Message]++
				}
			}))
		}})
		left := c.Agent(c.Leader())
		for i := range 3 {
			if c.Agent(i) != left {
				c.Kill(i)
			}
		}
		// An election takes a second or two; the alarm comes after five.
		awaitAlarm(t, left, "quorum-lost", "", "2 of 3 voters must be able to reach each other; silent: n")
		mu.Lock()
		defer mu.Unlock()
		if n := said[left.ID()+"raft: Election timeout reached, restarting election"]; n != 1 {
			t.Errorf("of %v said it %d times", said, n)
		}
	})
}

func TestAnAgentWhoseRaftDirectoryIsMovedAwaySaysSoAndGoesOnWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := make(chan struct{}, 1)
		c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 1, Virtual: true, Configure: func(_ int, c *agent.Config) {
			c.Logger = loggo.NewContext(loggo.INFO)
			_ = c.Logger.AddWriter("test", writer(func(e loggo.Entry) {
				if strings.HasSuffix(e.Module, "raft") && strings.Contains(e.Message, "removed or replaced") {
					select {
					case again <- struct{}{}:
					default:
					}
				}
			}))
		}})
		a := c.Agent(c.Leader())
		dir := filepath.Join(c.Dir(0), "raft")
		if err := os.Rename(dir, dir+".moved"); err != nil {
			t.Fatal(err)
		}
		awaitAlarm(t, a, "disk-failed", "", "it was removed or replaced while the agent was running")
		select { // the next life of raft has not begun anew
		case <-again:
		case <-time.After(interrextest.Patience):
			t.Fatal("raft was not refused its directory")
		}
		if err := os.Rename(dir+".moved", dir); err != nil {
			t.Fatal(err)
		}
		c.Leader()
		awaitAlarm(t, a, "disk-failed", "", "")
	})
}

// writer is a function as a loggo.Writer.
type writer func(loggo.Entry)

func (w writer) Write(e loggo.Entry) { w(e) }

func TestAMemberOfWhichNothingWasEverHeardIsSilentAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := interrextest.StartCluster(t, interrextest.ClusterConfig{Virtual: true})
		for i := range 3 {
			c.Kill(i)
		}
		began := time.Now()
		c.Start(0)
		a := c.Agent(0)
		members := func() []interrex.Member { return a.Status().Members }
		waitFor(t, nil, func() error {
			if n := len(members()); n != 3 {
				return fmt.Errorf("it has %d members", n)
			}
			return nil
		})
		for _, m := range members() {
			if m.Silent && time.Since(began) < peering.ProbeTime {
				t.Errorf("at once: %+v", m)
			}
		}
		for _, id := range []string{"n2", "n3"} {
			awaitAlarm(t, a, "member-silent", id, "n")
		}
		for _, m := range members() {
			if m.LastContact != nil || m.Silent != (m.ID != "n1") {
				t.Errorf("after a while: %+v", m)
			}
		}
	})
}

func TestAWipedMemberIsRefusedAndBothSidesSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := interrextest.StartCluster(t, interrextest.ClusterConfig{Virtual: true})
		wiped := (c.Leader() + 1) % 3
		c.Stop(wiped)
		if _, err := os.Stat(filepath.Join(c.Dir(wiped), datadir.PeersName)); err != nil {
			t.Errorf("what the others have stored is not remembered on disk: %v", err)
		}
		kept := c.Dir(wiped) + ".kept"
		if err := os.Rename(c.Dir(wiped), kept); err != nil {
			t.Fatal(err)
		}
		c.Start(wiped)
		leader := c.Agent(c.Leader())
		const why = "has a different disk"
		awaitAlarm(t, c.Agent(wiped), "refused", leader.ID()+":1", why)
		awaitAlarm(t, leader, "peer-refused", c.Agent(wiped).ID(), why)
		// One trouble is one alarm: the member is silent, and the other waits, because
		// of the refusal.
		awaitAlarm(t, leader, "member-silent", c.Agent(wiped).ID(), "")
		awaitAlarm(t, c.Agent(wiped), "bootstrap-waiting", "", "")
		for a, others := range map[*agent.Agent]string{leader: "refused", c.Agent(wiped): "peer-refused"} {
			for _, is := range a.Status().Alarms {
				if is.Name == others {
					t.Errorf("agent %s has the alarm of the other side: %s", a.ID(), is)
				}
			}
		}
		waitFor(t, nil, func() error {
			for _, m := range leader.Status().Members {
				if m.ID == c.Agent(wiped).ID() && m.Silent && strings.Contains(m.Refusal, "we refuse it: ") && strings.Contains(m.Refusal, why) {
					return nil
				}
			}
			return fmt.Errorf("it has the members %+v", leader.Status().Members)
		})
		third := 3 - wiped - c.Leader()
		c.Kill(third)
		awaitAlarm(t, leader, "quorum-lost", "", "not connected: "+c.Agent(wiped).ID()+", we refuse it: ")
		c.Start(third)
		c.Stop(wiped)
		if err := os.RemoveAll(c.Dir(wiped)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(kept, c.Dir(wiped)); err != nil {
			t.Fatal(err)
		}
		c.Start(wiped)
		awaitAlarm(t, c.Agent(wiped), "refused", leader.ID()+":1", "")
		awaitAlarm(t, leader, "peer-refused", c.Agent(wiped).ID(), "")
	})
}

// lonely starts an agent that waits for another one, which never comes.
func lonely(t *testing.T) *agent.Agent {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	own := quiet(t)
	if own.TLS, err = ca.TLS("n1"); err != nil {
		t.Fatal(err)
	}
	own.ID = "n1"
	own.Cluster = config.Cluster{Listen: "127.0.0.1:0", BootstrapExpect: 2, Join: []string{"127.0.0.1:9"}} // nobody is there
	a := newAgent(t, own)
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAWaitForAnAgentEndsWithTheAgent(t *testing.T) {
	a := lonely(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Ready(over); !errors.Is(err, context.Canceled) || err.Error() == "the agent is not ready: context canceled" {
		t.Errorf("it does not say why it is not ready: %v", err)
	}
	ready := make(chan error, 1)
	go func() { ready <- a.Ready(t.Context()) }()
	a.Kill()
	select {
	case err := <-ready:
		if !errors.Is(err, agent.ErrStopped) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(interrextest.Patience):
		t.Error("it goes on")
	}
}

func TestAnAgentSaysForWhomItsClusterWaits(t *testing.T) {
	a := lonely(t)
	awaitAlarm(t, a, "bootstrap-waiting", "", "waiting for 1 of 2; 127.0.0.1:9 refuses connections")
	for said, end := "", time.Now().Add(time.Minute); !strings.Contains(said, "[-] caught up: the leader has not yet said what is committed"); {
		if time.Now().After(end) {
			t.Fatalf("it says of itself:\n%s", said)
		}
		time.Sleep(10 * time.Millisecond) // a poll
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil))
		said = w.Body.String()
	}
}

func TestAnAgentSaysWhomItHasMetAndWhoExpectsAnotherCluster(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	agentOf := func(id string, expect int, join ...string) *agent.Agent {
		own := quiet(t)
		own.ID = id
		if own.TLS, err = ca.TLS(id); err != nil {
			t.Fatal(err)
		}
		own.Cluster = config.Cluster{Listen: "127.0.0.1:0", BootstrapExpect: expect, Join: join}
		a := newAgent(t, own)
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := agentOf("n1", 3, "127.0.0.1:9") // nobody is there
	agentOf("n2", 3, first.Addrs()["cluster"])
	awaitAlarm(t, first, "bootstrap-waiting", "", "waiting for 1 of 3: met n2; 127.0.0.1:9 refuses connections")
	agentOf("n3", 4, first.Addrs()["cluster"])
	awaitAlarm(t, first, "bootstrap-waiting", "", "n1 expects 3 agents and n3 expects 4")
}

func TestADatabaseThatIsAwayIsAnAlarmAndNoFailedStart(t *testing.T) {
	url := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(url, []byte("postgres://127.0.0.1:1/none"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := quiet(t)
	own.Notify.LeaseHolders = url
	own.Postgres = func(string) (*sql.DB, error) { return nil, errors.New("no such server") }
	own.Logger = nil
	a := newAgent(t, own)
	start(t, a)
	awaitAlarm(t, a, "projection-failing", "", "notify.lease-holders: cannot open the lease holders: "+url+": no such server")
	if _, err := claim(t, a, "db", "ann"); err != nil {
		t.Error(err)
	}
}

// An agent that ended because of its disk could tell nobody why.
func TestADamagedDiskIsAnAlarmAndNoFailedStart(t *testing.T) {
	for file, text := range map[string]string{
		"vote": "what this agent has promised is lost",
		// All of the log, of which nobody else has anything.
		"*.wal": "this agent is the only voter, and no other agent has the entries that it lacks: its log ends at index 0,",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 1, Virtual: true})
			c.Stop(0)
			lost, err := filepath.Glob(filepath.Join(c.Dir(0), "raft", file))
			if err != nil || len(lost) == 0 {
				t.Fatalf("%s: %v %v", file, lost, err)
			}
			for _, name := range append(lost, filepath.Join(c.Dir(0), "raft", "snapshots")) {
				if err := os.RemoveAll(name); err != nil {
					t.Fatal(err)
				}
			}
			for range 6 { // raft's failure may come before or after what a start waits for
				c.Start(0)
				is := awaitAlarm(t, c.Agent(0), "raft-down", "", text)
				if !strings.Contains(is.Do, "interrex agent repair") {
					t.Errorf("it says to do: %s", is.Do)
				}
				c.Stop(0)
			}
		})
	}
}
