package featuretests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/testport"
)

// patience bounds every wait for what should happen soon.
const patience = time.Minute

// fleet is a cluster of real processes with configuration files.
type fleet struct {
	t       *testing.T
	dir     string
	ca      *certificates.CA // nil: the cluster has its own
	members []*member
}

// member is one process; cmd is nil while it does not run.
type member struct {
	config config.Config
	file   string
	log    string
	binary func() (string, error) // nil: the one of all members

	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
}

// newFleet starts n processes and waits until all of them answer. change may
// alter the configuration of member i.
func newFleet(t *testing.T, n int, change func(i int, c *config.Config)) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir}
	t.Cleanup(f.end)
	if f.ca, err = certificates.DevCA(); err != nil {
		t.Fatal(err)
	}
	ports := testport.Ports(t, 2*n)
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", ports[n+i]))
	}
	for i := range n {
		f.members = append(f.members, f.member(f.ca, i, ports[i], join, change))
	}
	for i := range n {
		f.start(i)
	}
	for i := range n {
		f.answers(i)
	}
	return f
}

func (f *fleet) member(ca *certificates.CA, i, port int, join []string, change func(int, *config.Config)) *member {
	f.t.Helper()
	id := fmt.Sprintf("n%d", i+1)
	dir := filepath.Join(f.dir, id)
	if err := os.MkdirAll(filepath.Join(f.dir, id+"-tls"), 0o700); err != nil {
		f.t.Fatal(err)
	}
	files, err := ca.Write(filepath.Join(f.dir, id+"-tls"), id)
	if err != nil {
		f.t.Fatal(err)
	}
	c := config.Default()
	c.Agent = config.Agent{ID: id, DataDir: dir}
	c.API.Listen = fmt.Sprintf("127.0.0.1:%d", port)
	c.Cluster.Listen = join[i]
	c.Logging.Level = "debug"
	c.Logging.Config = ""
	c.Notify.LeaseHolders = "off"
	if len(join) > 1 {
		c.Cluster.Join = slices.Delete(slices.Clone(join), i, i+1)
		c.Cluster.BootstrapExpect = len(join)
		c.Cluster.TLS = config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
	}
	if change != nil {
		change(i, &c)
	}
	m := &member{config: c, file: filepath.Join(f.dir, id+".yaml"), log: filepath.Join(f.dir, id+".log")}
	f.write(m)
	return m
}

// write writes a member's configuration file.
func (f *fleet) write(m *member) {
	f.t.Helper()
	text, err := m.config.YAML()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(m.file, text, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// start starts member i's process.
func (f *fleet) start(i int) {
	f.t.Helper()
	m, build := f.members[i], binary
	if m.binary != nil {
		build = m.binary
	}
	path, err := build()
	if err != nil {
		f.t.Fatal(err)
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(path, "agent", "run", "--config", m.file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	gone := make(chan struct{})
	m.cmd, m.gone = cmd, gone
	go func() {
		_ = cmd.Wait() // cmd has its exit code
		close(gone)
	}()
}

// signal sends a signal to member i.
func (f *fleet) signal(i int, s syscall.Signal) {
	f.t.Helper()
	if err := f.members[i].cmd.Process.Signal(s); err != nil {
		f.t.Fatalf("cannot send %s to %s: %v", s, f.id(i), err)
	}
}

// exit waits for the end of member i's process and returns its exit code, -1
// after a signal.
func (f *fleet) exit(i int) int {
	f.t.Helper()
	m := f.members[i]
	select {
	case <-m.gone:
		return m.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		f.t.Fatalf("%s has not ended within %s", f.id(i), patience)
		return 0
	}
}

// kill ends member i as a crash does.
func (f *fleet) kill(i int) {
	f.t.Helper()
	f.signal(i, syscall.SIGKILL)
	f.exit(i)
}

func (f *fleet) id(i int) string { return f.members[i].config.Agent.ID }

// socket returns the address of member i's socket.
func (f *fleet) socket(i int) string {
	return "unix://" + filepath.Join(f.members[i].config.Agent.DataDir, "interrex.sock")
}

// end kills what still runs, and shows the members' logs if the test has failed.
func (f *fleet) end() {
	for i, m := range f.members {
		if m.cmd != nil {
			_ = m.cmd.Process.Kill()
			<-m.gone
		}
		if f.t.Failed() {
			f.t.Logf("the log of %s ends with:\n%s", f.id(i), f.tail(i, 60))
		}
	}
	os.RemoveAll(f.dir)
}

// tail returns the last lines of a member's log.
func (f *fleet) tail(i, n int) string {
	text, _ := os.ReadFile(f.members[i].log)
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// logged waits until the log of member i has a text.
func (f *fleet) logged(i int, text string) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%s logs %q", f.id(i), text), func() error {
		log, err := os.ReadFile(f.members[i].log)
		if err == nil && !strings.Contains(string(log), text) {
			err = errors.New("it does not")
		}
		return err
	})
}
