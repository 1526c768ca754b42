package featuretests

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/testport"
)

// founded returns an agent that 'agent init' has made, and that does not run yet.
func founded(t *testing.T) *fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, dir: dir}
	t.Cleanup(f.end)
	ports := testport.Ports(t, 2)
	c := config.Default()
	c.Agent = config.Agent{ID: "n1", DataDir: filepath.Join(dir, "n1")}
	c.API.Listen, c.Cluster.Listen = fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1])
	f.members = []*member{{config: c, file: filepath.Join(c.Agent.DataDir, "interrex.yaml"), log: filepath.Join(dir, "n1.log")}}
	f.mustRun("agent", "init", "--data-dir", c.Agent.DataDir, "--id", "n1", "--api", c.API.Listen, "--cluster", c.Cluster.Listen)
	return f
}

// callersWithCertificates starts an agent whose API takes certificates of its cluster's
// CA and of another one.
func callersWithCertificates(t *testing.T) (f *fleet, callers *certificates.CA) {
	t.Helper()
	f = founded(t)
	callers, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := callers.Write(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(f.dir, "callers.pem")
	if err := os.WriteFile(both, slices.Concat(f.read(filepath.Join(f.data(0), "ca.pem")), f.read(files.CA)), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(f.read(f.members[0].file)), "  tls:\n", "  tls:\n    client-ca: "+both+"\n", 1)
	if err := os.WriteFile(f.members[0].file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.start(0)
	f.answers(0)
	return f, callers
}

func (f *fleet) read(path string) []byte {
	f.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// dial returns a client of the first agent's API.
func (f *fleet) dial(c client.Config) *client.Client {
	f.t.Helper()
	c.Addresses, c.TLS.CA = []string{"https://" + f.members[0].config.API.Listen}, filepath.Join(f.data(0), "ca.pem")
	by, err := client.Dial(f.t.Context(), c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = by.Close() })
	return by
}

func TestACertificateHasTheRightsOfTheTokensOfItsName(t *testing.T) {
	f, callers := callersWithCertificates(t)
	dir := t.TempDir()
	ann, err := callers.Write(dir, "ann")
	if err != nil {
		t.Fatal(err)
	}
	shown := client.TLSFiles{Cert: ann.Cert, Key: ann.Key}
	by := f.dial(client.Config{TLS: shown})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	claim := func(by *client.Client, name, holder string) error {
		_, err := by.Leases().Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Namespace: "web", Name: name}, Holder: holder, TTL: time.Minute})
		return err
	}
	if err := claim(by, "a", "ann"); !errors.Is(err, interrex.ErrDenied) {
		t.Errorf("without a token of its name: %v", err)
	}
	f.mustRun("token", "create", "--name", "ann", "--rule", "lease:claim:web/*:own", "--addr", f.socket(0))
	second := f.mustRun("token", "create", "--name", "ann", "--rule", "lease:list,watch:web/*", "--addr", f.socket(0))
	other := f.mustRun("token", "create", "--name", "bob", "--rule", "lease:list:*", "--addr", f.socket(0))
	agent := client.TLSFiles{Cert: filepath.Join(f.data(0), "agent.pem"), Key: filepath.Join(f.data(0), "agent.key")}
	for what, c := range map[string]struct {
		got  error
		want interrex.Kind
	}{
		"a claim":                         {claim(by, "a", "ann"), ""},
		"a claim for another":             {claim(by, "b", "bob"), interrex.ErrDenied},
		"a claim with a token beside it":  {claim(f.dial(client.Config{TLS: shown, Token: other}), "c", "ann"), interrex.ErrDenied},
		"a claim of nobody":               {claim(f.dial(client.Config{}), "d", "ann"), interrex.ErrUnauthenticated},
		"a claim with an agent's":         {claim(f.dial(client.Config{TLS: agent}), "e", "anyone"), ""},
		"a claim with a token and no one": {claim(f.dial(client.Config{Token: second}), "f", "ann"), interrex.ErrDenied},
	} {
		if interrex.KindOf(c.got) != c.want {
			t.Errorf("%s: %v, want %q", what, c.got, c.want)
		}
	}
	watch, err := by.Leases().Watch(ctx, interrex.WatchRequest{Namespace: "web"})
	if err == nil {
		_, err = watch.Next(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	f.mustRun("token", "revoke", strings.Split(second, ".")[1], "--addr", f.socket(0))
	for err == nil {
		_, err = watch.Next(ctx)
	}
	if kind := interrex.KindOf(err); kind != interrex.ErrDenied && kind != interrex.ErrUnauthenticated {
		t.Errorf("a watch whose rule has gone ends with %v", err)
	}
}

// The certificate of an agent that was removed is valid for months.
func TestAWatchWithAnAgentsCertificateEndsWhenTheAgentIsRemoved(t *testing.T) {
	f, _ := callersWithCertificates(t)
	ports, dir := testport.Ports(t, 2), filepath.Join(f.dir, "n2")
	f.mustRun("agent", "join", f.members[0].config.Cluster.Listen, "--token-file", filepath.Join(f.data(0), "join.token"), "--data-dir", dir, "--id", "n2",
		"--api", fmt.Sprint("127.0.0.1:", ports[0]), "--cluster", fmt.Sprint("127.0.0.1:", ports[1]))
	by := f.dial(client.Config{TLS: client.TLSFiles{Cert: filepath.Join(dir, "agent.pem"), Key: filepath.Join(dir, "agent.key")}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := by.Leases().Watch(ctx, interrex.WatchRequest{Namespace: "web"})
	if err == nil {
		_, err = watch.Next(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	f.mustRun("member", "remove", "n2", "--addr", f.socket(0))
	for err == nil {
		_, err = watch.Next(ctx)
	}
	if !errors.Is(err, interrex.ErrUnauthenticated) {
		t.Errorf("it ends with %v", err)
	}
}

// A machine that probes has neither a certificate nor a token.
func TestProbesNeedNoCertificate(t *testing.T) {
	f, _ := callersWithCertificates(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.read(filepath.Join(f.data(0), "ca.pem")))
	by := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/changes": 401, "/metrics": 401} {
		answer, err := by.Get("https://" + f.members[0].config.API.Listen + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, answer.StatusCode, want)
		}
	}
	f.logged(0, `no client certificate was presented`)
}
