package featuretests

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testport"
)

// joinKills is the number of agents of TestAJoinerThatIsKilledIsInAfterItsLastStart.
var joinKills = flag.Int("join-kills", 4, "kill so many agents while they join")

// An agent is killed at random moments, from its join on until it has a vote, and each
// time it is started again. It is in after the last start, with the one use of its token
// and on its first disk, and it can be removed. Every second one joins by itself.
func TestAJoinerThatIsKilledIsInAfterItsLastStart(t *testing.T) {
	f := enrol(t, 3)
	f.must("member", "demote", "n2", "--addr", f.socket(0)) // so that each joiner gets a vote
	f.until("two have a vote", func() bool { return f.votes(0, 2) })
	d := drawer(0)
	for n := range *joinKills {
		j := f.joiner()
		if n%2 == 0 {
			f.killedInJoin(j, d)
		} else {
			f.declares(j)
		}
		for range 3 {
			f.start(j)
			pause(t.Context(), time.Duration(d.IntN(900))*time.Millisecond)
			f.kill(j)
		}
		f.start(j)
		f.until(f.id(j)+" has a vote", func() bool { return f.votes(0, 3) })
		f.isIn(j)
		f.must("member", "remove", f.id(j), "--addr", f.socket(0))
		f.until(f.id(j)+" is out", func() bool { return f.votes(0, 2) })
		f.kill(j)
	}
}

// joiner prepares an agent that is to join with a token of one use.
func (f *fleet) joiner() (j int) {
	f.t.Helper()
	j = len(f.members)
	id, ports := fmt.Sprint("n", j), testport.Ports(f.t, 2)
	c := config.Default()
	c.Agent = config.Agent{ID: id, DataDir: filepath.Join(f.dir, id)}
	c.API.Listen, c.Cluster.Listen = fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1])
	c.Cluster.Join = []string{f.members[0].config.Cluster.Listen, f.members[1].config.Cluster.Listen}
	c.Cluster.JoinTokenFile = filepath.Join(f.dir, id+".token")
	c.Notify.LeaseHolders = "off"
	f.members = append(f.members, &member{config: c, file: filepath.Join(c.Agent.DataDir, "interrex.yaml"), log: filepath.Join(f.dir, id+".log")})
	secret := f.must("join-token", "create", "-q", "--addr", f.socket(0))
	if err := os.WriteFile(c.Cluster.JoinTokenFile, []byte(secret), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return j
}

// killedInJoin runs 'agent join' for an agent until it has not been killed.
func (f *fleet) killedInJoin(j int, d *rand.Rand) {
	f.t.Helper()
	c := f.members[j].config
	args := []string{
		"agent", "join", c.Cluster.Join[0], c.Cluster.Join[1], "--token-file", c.Cluster.JoinTokenFile, "--data-dir", c.Agent.DataDir,
		"--id", c.Agent.ID, "--api", c.API.Listen, "--cluster", c.Cluster.Listen,
	}
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	for range 3 {
		cmd := exec.CommandContext(f.t.Context(), path, args...)
		if err := cmd.Start(); err != nil {
			f.t.Fatal(err)
		}
		pause(f.t.Context(), time.Duration(20+d.IntN(100))*time.Millisecond)
		_ = cmd.Process.Kill() // it may be through
		_ = cmd.Wait()
	}
	f.must(args...)
}

// declares writes the configuration of an agent that joins by itself.
func (f *fleet) declares(j int) {
	f.t.Helper()
	if err := os.MkdirAll(f.data(j), 0o700); err != nil {
		f.t.Fatal(err)
	}
	f.write(f.members[j])
}

// isIn checks that an agent is the fourth member, on the disk that it has.
func (f *fleet) isIn(j int) {
	f.t.Helper()
	var disk struct {
		Incarnation string `json:"incarnation"`
	}
	text, err := os.ReadFile(filepath.Join(f.data(j), "identity.json"))
	if err == nil {
		err = json.Unmarshal(text, &disk)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	all, _, err := f.client(0).Members().List(f.t.Context(), interrex.ReadOptions{})
	is := func(m interrex.Member) bool { return m.ID == f.id(j) && m.Incarnation == disk.Incarnation }
	if err != nil || len(all) != 4 || !slices.ContainsFunc(all, is) {
		f.t.Errorf("%s has the disk %s, and the members are %+v, %v", f.id(j), disk.Incarnation, all, err)
	}
}
