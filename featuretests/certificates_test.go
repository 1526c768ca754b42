package featuretests

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/testport"
)

// enrol makes a cluster of n agents with 'agent init' and 'agent join', and waits until
// all have a vote.
func enrol(t *testing.T, n int) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-") // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir}
	t.Cleanup(f.end)
	ports := testport.Ports(t, 2*n)
	for i := range n {
		id := fmt.Sprint("n", i)
		data := filepath.Join(dir, id)
		m := &member{file: filepath.Join(data, "interrex.yaml"), log: filepath.Join(dir, id+".log")}
		m.config.Agent = config.Agent{ID: id, DataDir: data}
		m.config.API.Listen, m.config.Cluster.Listen = fmt.Sprint("127.0.0.1:", ports[i]), fmt.Sprint("127.0.0.1:", ports[n+i])
		f.members = append(f.members, m)
		args := []string{"--data-dir", data, "--id", id, "--api", m.config.API.Listen, "--cluster", m.config.Cluster.Listen}
		if i == 0 {
			f.must(append([]string{"agent", "init"}, args...)...)
		} else {
			f.must(append([]string{"agent", "join", f.members[0].config.Cluster.Listen, "--token-file", filepath.Join(dir, "n0", "join.token")}, args...)...)
		}
		f.start(i)
		f.until("n0 answers", func() bool { _, err := f.command("status", "--addr", f.socket(0)); return err == nil || i > 0 })
	}
	f.until("all have votes", func() bool {
		out, _ := f.command("member", "list", "--addr", f.socket(0))
		return strings.Count(out, "voter")+strings.Count(out, "leader") == n && !strings.Contains(out, "nonvoter")
	})
	return f
}

// command runs one command.
func (f *fleet) command(args ...string) (string, error) {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return string(out), err
}

func (f *fleet) must(args ...string) string {
	f.t.Helper()
	out, err := f.command(args...)
	if err != nil {
		f.t.Fatalf("interrex %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// until waits until something is so.
func (f *fleet) until(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(2 * patience); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			for i := range f.members {
				f.t.Log(f.tail(i, 20))
			}
			f.t.Fatalf("not within %s: %s", 2*patience, what)
		}
	}
}

// path returns a file of member i.
func (f *fleet) path(i int, name string) string {
	return filepath.Join(f.members[i].config.Agent.DataDir, name)
}

func (f *fleet) certificate(i int) (cert tls.Certificate) {
	f.t.Helper()
	f.until("certificate and key are a pair", func() (pair bool) { // while they are renewed they are not
		var err error
		cert, err = tls.LoadX509KeyPair(f.path(i, authority.AgentCertName), f.path(i, authority.AgentKeyName))
		return err == nil
	})
	return cert
}

func (f *fleet) hasKey(i int) bool {
	f.t.Helper()
	_, err := os.Stat(f.path(i, authority.KeyName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
	return err == nil
}

// age replaces member i's certificate by one for the same key that was issued at at.
func (f *fleet) age(i int, at time.Time) {
	f.t.Helper()
	old := f.certificate(i)
	ca, err := authority.Load(f.members[0].config.Agent.DataDir)
	if err != nil {
		f.t.Fatal(err)
	}
	raw, err := authority.Request(old.PrivateKey.(*ecdsa.PrivateKey), f.id(i), authority.Names(nil, old.Leaf))
	if err != nil {
		f.t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		f.t.Fatal(err)
	}
	der, err := ca.Issue(request, f.id(i), at)
	if err != nil {
		f.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(f.path(i, authority.AgentCertName), text, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// demote takes member i's vote, and waits until it has deleted the CA's key.
func (f *fleet) demote(i int) {
	f.t.Helper()
	f.must("member", "demote", f.id(i), "--addr", f.socket(0))
	long := time.Now().Add(-time.Hour) // it got the key just now, to be promoted
	if err := os.Chtimes(f.path(i, authority.KeyName), long, long); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
	f.until("the CA's key is deleted", func() bool { return !f.hasKey(i) })
}

func TestTheCAsKeyLiesOnVotersAndCertificatesRenewThemselves(t *testing.T) {
	f := enrol(t, 3)
	for i := range 3 {
		if !f.hasKey(i) {
			t.Errorf("%s has a vote, and not the CA's key", f.id(i))
		}
	}
	f.demote(2)

	// On demand, also where the CA's key is not.
	before := f.certificate(2)
	f.must("cert", "renew", f.id(2), "--addr", f.socket(0))
	f.until("the certificate is renewed", func() bool {
		text, err := os.ReadFile(f.path(2, authority.AgentCertName))
		block, _ := pem.Decode(text)
		return err == nil && block != nil && string(block.Bytes) != string(before.Leaf.Raw)
	})
	f.until("the cluster shows it", func() bool {
		return strings.Contains(f.must("cert", "list", "--addr", f.socket(0)), f.certificate(2).Leaf.SerialNumber.Text(16))
	})
	if key := f.certificate(2).PrivateKey.(*ecdsa.PrivateKey); key.Equal(before.PrivateKey) {
		t.Error("the key is the former one")
	}

	// By itself, at two thirds of its life; the files are taken up while it runs.
	f.age(2, time.Now().Add(-authority.CertLife*7/10))
	f.until("the certificate renews itself", func() bool {
		cert, err := tls.LoadX509KeyPair(f.path(2, authority.AgentCertName), f.path(2, authority.AgentKeyName))
		if err != nil || time.Until(cert.Leaf.NotAfter) <= authority.CertLife*9/10 {
			return false
		}
		_, err = os.Lstat(f.path(2, "agent.renewal"))
		return os.IsNotExist(err) // else one that is killed now completes it at its next start
	})

	// Off until its certificate has ended.
	f.kill(2)
	f.age(2, time.Now().Add(-authority.CertLife-time.Hour))
	f.start(2)
	f.logged(2, "join-token create --for "+f.id(2))
	f.until("its status says how it comes back", func() bool {
		out, _ := f.command("status", "--addr", f.socket(2))
		return strings.Contains(out, "certificate-ending") && strings.Contains(out, "interrex agent join")
	})
	token := filepath.Join(f.dir, "token")
	if err := os.WriteFile(token, []byte(f.must("join-token", "create", "--for", f.id(2), "--addr", f.socket(0))), 0o600); err != nil {
		t.Fatal(err)
	}
	at := strings.Fields(f.must("member", "list", "--no-headers", "--addr", f.socket(0)))[2]
	f.must("agent", "join", at, "--token-file", token, "--data-dir", f.members[2].config.Agent.DataDir)
	f.until("it is back", func() bool {
		out, err := f.command("kv", "get", "nothing", "--addr", f.socket(2))
		return err != nil && strings.Contains(out, "not found")
	})

	// The one with the CA's key comes back by itself.
	f.kill(1)
	f.age(1, time.Now().Add(-authority.CertLife-time.Hour))
	f.start(1)
	f.until("it has issued itself a certificate", func() bool { return time.Until(f.certificate(1).Leaf.NotAfter) > 0 })
	f.answers(1)
}
