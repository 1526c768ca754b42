package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/testport"
)

// cluster is agents as an operator runs them: `interrex agent run`, one
// process each.
type cluster struct {
	b       *testing.B
	dir     string
	members []*member
	token   string // of an operator; empty: the API is open
}

type member struct {
	config config.Config
	file   string
	cmd    *exec.Cmd
}

// newCluster starts n agents and waits until all are ready. notify configures the
// table of holders; the rest is default.
func newCluster(b *testing.B, n int, notify string) *cluster {
	b.Helper()
	c := &cluster{b: b, dir: shortDir(b)}
	b.Cleanup(c.end)
	ca, err := certificates.DevCA()
	if err != nil {
		b.Fatal(err)
	}
	ports := testport.Ports(b, 2*n)
	var join []string
	for _, port := range ports[n:] {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i := range n {
		conf := config.Default()
		conf.Agent = config.Agent{ID: fmt.Sprintf("n%d", i+1), DataDir: filepath.Join(c.dir, fmt.Sprintf("n%d", i+1))}
		conf.API.Listen = fmt.Sprintf("127.0.0.1:%d", ports[i])
		conf.Cluster.Listen = join[i]
		conf.Notify.LeaseHolders = notify
		conf.Logging.Level, conf.Logging.Config = "error", ""
		if n > 1 {
			conf.Cluster.Join, conf.Cluster.BootstrapExpect = slices.Delete(slices.Clone(join), i, i+1), n
			conf.Cluster.TLS = c.certify(ca, conf.Agent.ID)
		}
		c.add(conf)
	}
	for i := range n {
		c.start(i)
	}
	c.ready()
	return c
}

func (c *cluster) certify(ca *certificates.CA, id string) config.TLSFiles {
	c.b.Helper()
	dir := filepath.Join(c.dir, id+"-tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.b.Fatal(err)
	}
	files, err := ca.Write(dir, id)
	if err != nil {
		c.b.Fatal(err)
	}
	return config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
}

func (c *cluster) add(conf config.Config) {
	c.b.Helper()
	text, err := conf.YAML()
	if err != nil {
		c.b.Fatal(err)
	}
	m := &member{config: conf, file: filepath.Join(c.dir, conf.Agent.ID+".yaml")}
	if err := os.WriteFile(m.file, text, 0o600); err != nil {
		c.b.Fatal(err)
	}
	c.members = append(c.members, m)
}

func (c *cluster) start(i int) {
	c.b.Helper()
	path, err := binary()
	if err != nil {
		c.b.Fatal(err)
	}
	cmd := exec.Command(path, "agent", "run", "--config", c.members[i].file)
	cmd.Env, cmd.Stderr = environ(), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.b.Fatal(err)
	}
	c.members[i].cmd = cmd
}

// stop sends a signal and waits for the end of the process.
func (c *cluster) stop(i int, s syscall.Signal) {
	c.b.Helper()
	cmd := c.members[i].cmd
	if err := cmd.Process.Signal(s); err != nil {
		c.b.Fatal(err)
	}
	_ = cmd.Wait() // ending by a signal is no failure
}

// end kills the processes that run.
func (c *cluster) end() {
	for _, m := range c.members {
		if m.cmd != nil && m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
	}
}

func (c *cluster) url(i int) string { return "http://" + c.members[i].config.API.Listen }

// status returns member i's status.
func (c *cluster) status(i int) (*interrexv1.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(c.b.Context(), 2*time.Second)
	defer cancel()
	one, err := client.Dial(ctx, client.Config{Addresses: []string{c.url(i)}, Token: c.token, OneShot: true})
	if err != nil {
		return nil, err
	}
	defer one.Close()
	return one.Status(ctx)
}

// ready waits until all members are.
func (c *cluster) ready() {
	c.b.Helper()
	for i := range c.members {
		eventually(c.b, fmt.Sprintf("agent %d is ready", i), func() error {
			s, err := c.status(i)
			if err == nil && !s.Ready {
				err = errors.New(s.Quorum)
			}
			return err
		})
	}
}

// leader returns the index of the leader.
func (c *cluster) leader() (leader int) {
	c.b.Helper()
	eventually(c.b, "there is a leader", func() error {
		for i := range c.members {
			if s, err := c.status(i); err == nil && s.State == "leader" && s.Ready {
				leader = i
				return nil
			}
		}
		return errors.New("there is no leader")
	})
	return leader
}

// dial returns a client; its first address is the leader's.
func (c *cluster) dial(cfg client.Config) *client.Client {
	c.b.Helper()
	leader := c.leader()
	cfg.Addresses, cfg.Token = []string{c.url(leader)}, c.token
	for i := range c.members {
		if i != leader {
			cfg.Addresses = append(cfg.Addresses, c.url(i))
		}
	}
	return dial(c.b, cfg)
}

func dial(b *testing.B, cfg client.Config) *client.Client {
	b.Helper()
	cl, err := client.Dial(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cl.Close() })
	return cl
}

// eventually waits until check returns no error.
func eventually(b *testing.B, what string, check func() error) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("waited %s in vain until %s: %v", patience, what, err)
		}
		time.Sleep(20 * time.Millisecond) // a poll
	}
}

// numbered returns the nth key of a series.
func numbered(series string, n int64) interrex.Key {
	return interrex.Key{Namespace: "bench", Name: fmt.Sprintf("%s-%08d", series, n)}
}
