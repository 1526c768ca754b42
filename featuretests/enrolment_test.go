package featuretests

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/testport"
)

// declared makes a fleet of n agents that get their certificates by themselves. None of
// them runs.
func declared(t *testing.T, n int, change func(i int, dir string, c *config.Config)) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir}
	t.Cleanup(f.end)
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	ports, join := testport.Ports(t, 2*n), []string{}
	for i := range n {
		join = append(join, fmt.Sprintf("127.0.0.1:%d", ports[n+i]))
	}
	for i := range n {
		f.members = append(f.members, f.member(ca, i, ports[i], join, func(i int, c *config.Config) {
			c.Cluster.TLS = config.TLSFiles{}
			change(i, dir, c)
		}))
	}
	return f
}

// makeCAKey makes the key of a cluster's CA.
func makeCAKey(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// votes reports whether member i sees n voters, and a leader.
func (f *fleet) votes(i, n int) bool {
	out, _ := f.command("status", "--addr", f.socket(i))
	return strings.Contains(out, fmt.Sprintf("%d voters, %d responding", n, n))
}

// TestAgentsThatShareAKeyFoundAClusterInAnyOrder starts them as a StatefulSet may: one
// after the other in any order, and the first one is killed while it waits.
func TestAgentsThatShareAKeyFoundAClusterInAnyOrder(t *testing.T) {
	t.Parallel()
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	if testing.Short() {
		orders = orders[4:5]
	}
	for _, order := range orders {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			f := declared(t, 3, func(_ int, dir string, c *config.Config) { c.Cluster.CAKeyFile = filepath.Join(dir, "shared.key") })
			first, second, last := order[0], order[1], order[2]
			f.start(first)
			f.until("the first waits for the key", func() bool {
				out, _ := f.command("status", "--addr", f.socket(first))
				return strings.Contains(out, "waiting for the key of the cluster's CA") && strings.Contains(out, "no such file")
			})
			makeCAKey(t, filepath.Join(f.dir, "shared.key"))
			f.until("it waits for the others", func() bool {
				out, _ := f.command("status", "--addr", f.socket(first))
				return strings.Contains(out, "waiting for 2 of 3")
			})
			f.start(second)
			f.kill(first)
			f.start(last)
			f.start(first)
			for i := range 3 {
				f.until("all three vote", func() bool { return f.votes(i, 3) })
			}
			if err := os.Remove(filepath.Join(f.dir, "shared.key")); err != nil {
				t.Fatal(err)
			}
			f.kill(last)
			f.start(last)
			f.until("one that has its certificate needs the key no more", func() bool { return f.votes(last, 3) })
			f.must("join-token", "create", "--addr", f.socket(first)) // the cluster has the CA
		})
	}
}

// TestAnAgentWithATokenFileJoinsByItself tries several wrong tokens first.
func TestAnAgentWithATokenFileJoinsByItself(t *testing.T) {
	t.Parallel()
	f := declared(t, 3, func(i int, dir string, c *config.Config) {
		if i == 0 {
			c.Cluster.CAKeyFile, c.Cluster.BootstrapExpect = filepath.Join(dir, "shared.key"), 1
			c.Cluster.Join = nil
			return
		}
		c.Cluster.BootstrapExpect, c.Cluster.JoinTokenFile = 0, filepath.Join(dir, "token")
	})
	makeCAKey(t, filepath.Join(f.dir, "shared.key"))
	token := func(text string) {
		if i := strings.Index(text, "ixj1."); i >= 0 { // behind what the command says while it waits
			text = strings.Fields(text[i:])[0]
		}
		if err := os.WriteFile(filepath.Join(f.dir, "token"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	says := func(i int, words ...string) {
		f.until(fmt.Sprint("it says ", words), func() bool {
			all := true
			for _, command := range []string{"status", "report"} {
				args := []string{command, "--addr", f.socket(i)}
				if command == "report" {
					args = []string{"agent", "report", "-o", "json", "--addr", f.socket(i)}
				}
				out, _ := f.command(args...)
				for _, w := range words {
					all = all && strings.Contains(out, w)
				}
			}
			return all
		})
	}
	f.start(1)
	says(1, "cannot read the join token", "waiting to be let in by "+strings.Join(f.members[1].config.Cluster.Join, ", "))
	token("nonsense")
	says(1, "it does not begin with ixj1")
	f.kill(1)
	f.start(0)
	f.start(2)
	f.start(1)
	f.until("the first leads", func() bool {
		out, err := f.command("join-token", "create", "--for", "other", "--addr", f.socket(0))
		token(out)
		return err == nil
	})
	oneAtATime(t, f.members[0].config.Cluster.Listen)
	for i := 1; i <= 2; i++ {
		says(i, "is only for agent other, not for "+f.id(i))
		f.logged(i, "is only for agent other")
	}
	token(f.must("join-token", "create", "--uses", "2", "--addr", f.socket(0)))
	for i := range 3 {
		f.until("all three vote", func() bool { return f.votes(i, 3) })
	}
	token("nonsense")
	f.signal(2, syscall.SIGTERM)
	if code := f.exit(2); code != 0 {
		t.Errorf("it stops with %d", code)
	}
	f.start(2)
	f.until("one that has its certificate needs no token", func() bool { return f.votes(2, 3) })
}

// oneAtATime checks that where agents join, a peer that has shown no certificate cannot
// open many requests on one connection.
func oneAtATime(t *testing.T, address string) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"interrex-join/1"}, MinVersion: tls.VersionTLS13}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	answer := make([]byte, 5)
	if err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err != nil || string(answer) != "HTTP/" {
		t.Errorf("HTTP/2 is answered with %q (%v)", answer, err)
	}
}

func TestAClusterOfOneIsToldHowToBringItsDataAlong(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, nil)
	f.must("lease", "claim", "a/b", "--addr", f.socket(0))
	f.kill(0)
	m := f.members[0]
	m.config.Cluster.JoinTokenFile, m.config.Cluster.Join = filepath.Join(f.dir, "token"), []string{"127.0.0.1:1"}
	f.write(m)
	out, err := f.command("agent", "run", "--config", m.file)
	if err == nil || !strings.Contains(out, "only an agent with an empty log joins") || !strings.Contains(out, "let the other agents join this one") {
		t.Errorf("it is told %s (%v)", out, err)
	}
	m.config.Cluster.JoinTokenFile, m.config.Cluster.Join = "", nil
	f.write(m)
	f.start(0)
	f.answers(0)
	if out := f.must("lease", "get", "a/b", "--addr", f.socket(0)); !strings.Contains(out, "a/b") {
		t.Errorf("its data: %s", out)
	}
}

// The file of each has only the address of the one that let them in.
func TestAgentsMeetAgainWithoutTheOneThatLetThemIn(t *testing.T) {
	t.Parallel()
	f := enrol(t, 3)
	for _, i := range []int{1, 2} {
		f.until("it has noted where the others are", func() bool {
			text, err := os.ReadFile(filepath.Join(f.members[i].config.Agent.DataDir, "peers"))
			return err == nil && strings.Count(string(text), `"at":"127.0.0.1:`) == 2
		})
	}
	for i := range f.members {
		f.kill(i)
	}
	f.start(1)
	f.start(2)
	f.until("the two have a leader", func() bool {
		out, _ := f.command("status", "--addr", f.socket(1))
		return strings.Contains(out, "3 voters, 2 responding")
	})
	if _, err := f.command("lease", "claim", "a/b", "--addr", f.socket(2)); err != nil {
		t.Error(err)
	}
}
