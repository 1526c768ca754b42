package assembly

import (
	"bytes"
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/transport"
)

// enrolled starts an agent in a directory that enrolment has made.
func enrolled(t *testing.T, id, dir string, join ...string) *world {
	t.Helper()
	return newWorld(t, func(c *AgentConfig) {
		c.ID, c.DataDir, c.TLS, c.Listen = id, dir, nil, net.Listen
		c.Cluster = config.Cluster{Listen: "127.0.0.1:0", Join: join, TLS: config.TLSFiles{
			CA: filepath.Join(dir, authority.CertName), Cert: filepath.Join(dir, authority.AgentCertName), Key: filepath.Join(dir, authority.AgentKeyName),
		}}
		if len(join) == 0 {
			c.Cluster.BootstrapExpect = 1
		}
	})
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute: %s", what)
		}
	}
}

// found founds a cluster and has two agents join it.
func found(t *testing.T) [3]*world {
	t.Helper()
	agent := func(id string) enrolment.Agent {
		return enrolment.Agent{DataDir: filepath.Join(t.TempDir(), id), ID: id, API: "127.0.0.1:7400", Cluster: "127.0.0.1:7401"} // they listen elsewhere
	}
	first := agent("a1")
	made, err := enrolment.Found(first, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(made.JoinToken)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jointoken.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	all := [3]*world{enrolled(t, first.ID, first.DataDir)}
	until(t, "the founder does not lead", func() bool { return all[0].Leadership.Current().LeaderID == "a1" })
	address := running[*peering.Transport](all[0].Set, TransportName).ListenAddr()
	for i, id := range []string{"a2", "a3"} {
		a := agent(id)
		if _, err := enrolment.Join(t.Context(), enrolment.JoinConfig{
			Agent: a, Addresses: []string{address}, Token: token, Clock: clock.WallClock, Logger: silent.Logger{},
		}); err != nil {
			t.Fatal(err)
		}
		all[i+1] = enrolled(t, id, a.DataDir, address)
	}
	for _, w := range all {
		until(t, "there are not three voters", func() bool { return voters(w) == 3 && w.Applied() != nil })
	}
	return all
}

func voters(w *world) (n int) {
	for _, m := range w.Status().Members {
		if m.Suffrage == "voter" {
			n++
		}
	}
	return n
}

func hasCAKey(w *world) bool {
	_, err := authority.KeySince(w.config.Agent.DataDir)
	return err == nil
}

// The graph, with the files of a cluster's own CA and real connections: what is made
// by init and join, renewed, reloaded, removed and drained.
func TestAClusterWithItsOwnCA(t *testing.T) {
	all := found(t)
	for _, w := range all {
		until(t, "a voter does not have the CA's key", func() bool { return hasCAKey(w) })
	}
	t.Run("a renewed certificate is in use", func(t *testing.T) { renewed(t, all[1]) })
	t.Run("raft's timeouts are reloaded", func(t *testing.T) { reloaded(t, all[1]) })
	t.Run("the API is served in a program's own mux", func(t *testing.T) { readyz(t, all[0]) })
	t.Run("a removed agent knows it", func(t *testing.T) { removed(t, all[0], all[2]) })
	t.Run("a drained agent hands over", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := (console{all[0].Set, all[0].engine}).Drain(ctx); interrex.KindOf(err) != interrex.ErrDisabled {
			t.Errorf("in another program's engine: %v", err)
		}
		if err := all[0].Drain(ctx); err != nil {
			t.Error(err)
		}
		until(t, "it still leads", func() bool { return all[0].Leadership.Current().LeaderID != "a1" })
	})
	for _, w := range all {
		testworker.Stop(t, w.engine)
	}
}

func renewed(t *testing.T, w *world) {
	path := filepath.Join(w.config.Agent.DataDir, authority.AgentCertName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.DeleteKey(w.config.Agent.DataDir); err != nil { // it has to ask others
		t.Fatal(err)
	}
	if _, err := client.Call[interrexv1.RenewCertificateRequest, interrexv1.RenewCertificateResponse](t.Context(), w.Client(), interrexv1.CertificateServiceRenewCertificateProcedure, &interrexv1.RenewCertificateRequest{Id: "a2"}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	until(t, "the certificate is the same", func() bool {
		now, err := os.ReadFile(path)
		return err == nil && string(now) != string(before)
	})
	until(t, "the transport has the former certificate", func() bool {
		served, err := running[transport.TLS](w.Set, TransportName).Certificate()
		text, _ := os.ReadFile(path)
		block, _ := pem.Decode(text)
		return err == nil && block != nil && bytes.Equal(block.Bytes, served.Certificate[0])
	})
}

func reloaded(t *testing.T, w *world) {
	file := w.config.Agent.file()
	file.Raft.HeartbeatTimeout, file.Raft.ElectionTimeout = 2*time.Second, 2*time.Second
	w.config.Agent.Load = func() (config.Config, error) { return file, nil }
	if sections, err := w.Reload(t.Context()); err != nil || strings.Join(sections, " ") != "raft" {
		t.Errorf("reloaded: %q (%v)", sections, err)
	}
	until(t, "raft does not run with the new timeout", func() bool {
		r := w.view().Running()
		return r != nil && r.ReloadableConfig().HeartbeatTimeout == 2*time.Second
	})
	if text, err := (console{w.Set, w.engine}).Config(); err != nil || !strings.Contains(text, "heartbeat-timeout: 2s") {
		t.Errorf("the configuration is %s (%v)", text, err)
	}
}

func readyz(t *testing.T, w *world) {
	until(t, "it is not ready", func() bool {
		r := httptest.NewRecorder()
		w.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return r.Code == http.StatusOK
	})
}

func removed(t *testing.T, by, w *world) {
	if _, err := by.Client().Members().Remove(t.Context(), w.config.Agent.ID); err != nil {
		t.Fatal(err)
	}
	until(t, "it does not know", func() bool { return interrex.KindOf(w.removal.Err()) == interrex.ErrRemoved })
	until(t, "it keeps the CA's key", func() bool { return !hasCAKey(w) })
	until(t, "it still runs raft", func() bool { return w.view().Running() == nil })
}
