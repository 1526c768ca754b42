package interrextest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/transport"
)

// Cluster is a cluster of agents in one process that talk over TCP and TLS on
// loopback, each with a data directory. Agents are numbered from 0; agent 0 has
// the ID "n1". Its methods must be called from the test's goroutine, and fail the
// test on errors.
type Cluster struct {
	t       testing.TB
	dir     string
	config  ClusterConfig
	tls     func(id string) transport.TLS
	network *network
	agents  []*agent.Agent
}

// ClusterConfig configures a cluster.
type ClusterConfig struct {
	// Size is the number of agents; 0: 3.
	Size int
	// Virtual is for a test within a bubble of testing/synctest: time advances when
	// every goroutine is idle, so that minutes pass in an instant. The agents then
	// talk within the process, and open no port; use Client to reach them.
	Virtual bool
	// Configure changes the configuration of agent i. May be nil.
	Configure func(i int, c *agent.Config)
}

// NewCluster starts a cluster of n agents, and waits until all are ready. At the
// end of the test it is stopped, and its directories are removed.
func NewCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	return StartCluster(t, ClusterConfig{Size: n})
}

// StartCluster is like NewCluster, with a configuration.
func StartCluster(t testing.TB, config ClusterConfig) *Cluster {
	t.Helper()
	if config.Size == 0 {
		config.Size = 3
	}
	// It contains sockets, whose paths have at most 107 bytes: t.TempDir is too long
	// for that.
	dir, err := os.MkdirTemp("", "interrextest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &Cluster{t: t, dir: dir, config: config, tls: Certificates(t)}
	c.network = newNetwork(c.address, config.Virtual)
	t.Cleanup(c.network.close)
	for i := range config.Size {
		c.agents = append(c.agents, c.make(i))
	}
	t.Cleanup(c.stop)
	c.start()
	return c
}

// start starts all agents and waits until they are ready.
func (c *Cluster) start() {
	c.t.Helper()
	for i := range c.agents {
		c.Start(i)
	}
	for _, a := range c.agents {
		ready(c.t, a)
	}
}

// make creates agent i without starting it.
func (c *Cluster) make(i int) *agent.Agent {
	c.t.Helper()
	config := agent.Config{
		ID: id(i), DataDir: c.Dir(i), TLS: c.tls(id(i)), Dialer: dialer{c.network, i},
		API: config.API{Listen: "127.0.0.1:0", Socket: c.socket(i)},
		Cluster: config.Cluster{
			Listen: "127.0.0.1:0", Advertise: hostport(i), BootstrapExpect: c.config.Size,
		},
		Logger: logger(c.t, id(i)),
	}
	for j := range c.config.Size {
		if j != i {
			config.Cluster.Join = append(config.Cluster.Join, hostport(j))
		}
	}
	if c.config.Virtual {
		config.API.Listen, config.Listen, config.HoldClock = "", c.network.listener(i), hold.Since(time.Now())
	}
	if c.config.Configure != nil {
		c.config.Configure(i, &config)
	}
	a, err := agent.New(config)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func id(i int) string { return fmt.Sprintf("n%d", i+1) }

// hostport returns a name for agent i that the cluster's own dialer resolves: its
// port may change at each start.
func hostport(i int) string { return id(i) + ":1" }

// address returns the current address of the agent behind a hostport.
func (c *Cluster) address(hostport string) (i int, address string, known bool) {
	for i, a := range c.agents {
		if hostport == id(i)+":1" {
			if c.config.Virtual {
				return i, id(i), true
			}
			return i, a.Addrs()["cluster"], true
		}
	}
	return 0, "", false
}

func (c *Cluster) socket(i int) string { return filepath.Join(c.dir, id(i)+".sock") }

// api returns the address of agent i for clients.
func (c *Cluster) api(i int) string {
	if c.config.Virtual {
		return "http://" + insideAPI(i)
	}
	return "unix://" + c.socket(i)
}

// Dir returns the data directory of agent i.
func (c *Cluster) Dir(i int) string { return filepath.Join(c.dir, id(i)) }

// Agents returns the agents in order, running or not.
func (c *Cluster) Agents() []*agent.Agent { return c.agents }

// Agent returns agent i.
func (c *Cluster) Agent(i int) *agent.Agent { return c.agents[i] }

// Start starts agent i, and does not wait until it is ready.
func (c *Cluster) Start(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.agents[i].Start(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// Stop drains and stops agent i.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	stop(c.t, c.agents[i])
}

// Kill stops agent i without draining it. Isolate it first if it should not
// announce its end to the others.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	c.agents[i].Kill()
	if err := c.agents[i].Wait(); err != nil {
		c.t.Logf("agent %s was killed: %v", id(i), err)
	}
}

// Restart stops agent i, starts it again, and waits until it is ready.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.Stop(i)
	c.Start(i)
	ready(c.t, c.agents[i])
}

// Leader returns the agent that leads and is ready, the one with the highest term
// if two believe that they lead. It waits until there is one.
func (c *Cluster) Leader() int {
	c.t.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		leader, term := -1, uint64(0)
		for i, a := range c.agents {
			if t, leads := leads(a); leads && t > term {
				leader, term = i, t
			}
		}
		if leader >= 0 {
			return leader
		}
	}
	c.t.Fatalf("the cluster has no leader after %s", Patience)
	return -1
}

// leads returns the term in which a leads the cluster, and whether it does.
func leads(a *agent.Agent) (term uint64, leads bool) {
	watch, err := a.Leadership()
	if err != nil {
		return 0, false // it is not running
	}
	now, err := watch.Next(context.Background()) // the first is the current leadership
	return now.Term, err == nil && now.Ready
}

// Client returns a client of the given agents, or of all agents if none is given;
// it is closed at the end of the test. It also finds agents that were restarted.
func (c *Cluster) Client(agents ...int) *client.Client {
	c.t.Helper()
	var config client.Config
	if c.config.Virtual {
		config.Dial, config.Clock = c.network.dialSocket, hold.Since(time.Now())
	}
	for _, i := range agents {
		config.Addresses = append(config.Addresses, c.api(i))
	}
	for i := 0; i < len(c.agents) && len(agents) == 0; i++ {
		config.Addresses = append(config.Addresses, c.api(i))
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cl, err := client.Dial(ctx, config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := cl.Close(); err != nil {
			c.t.Logf("a client's end: %v", err)
		}
	})
	return cl
}

// Cut blocks the traffic from one agent to another; the opposite direction stays
// open. Data in flight is held back, like packets that are retransmitted, and
// arrives after Heal.
func (c *Cluster) Cut(from, to int) { c.network.cut(from, to) }

// Isolate cuts agent i off, in both directions.
func (c *Cluster) Isolate(i int) {
	c.network.isolate(i, len(c.agents))
}

// Partition splits the agents into groups that cannot reach each other, in both
// directions, until Heal. An agent that is in no group is isolated.
func (c *Cluster) Partition(groups ...[]int) {
	of := map[int]int{}
	for n, group := range groups {
		for _, i := range group {
			of[i] = n + 1
		}
	}
	for i := range c.agents {
		for j := range c.agents {
			if i != j && (of[i] != of[j] || of[i] == 0) {
				c.network.cut(i, j)
			}
		}
	}
}

// Crash ends agent i as a power loss would, as seen by the others: it hands
// nothing over, releases nothing, and nothing that it was about to send arrives.
// What it has written is kept, synced or not, since the kernel has it. Start
// restarts it.
func (c *Cluster) Crash(i int) {
	c.t.Helper()
	restore := c.network.isolate(i, len(c.agents))
	c.Kill(i)
	c.network.drop(i)
	restore()
}

// Heal removes all cuts.
func (c *Cluster) Heal() { c.network.heal() }

// stop ends all agents at once, so that none waits for a quorum.
func (c *Cluster) stop() {
	c.network.heal()
	for _, a := range c.agents {
		a.Kill()
	}
	for i, a := range c.agents {
		if err := a.Wait(); err != nil {
			c.t.Logf("agent %s ended: %v", id(i), err)
		}
	}
}
