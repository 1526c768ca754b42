package enrolment

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/silent"
)

func agentIn(dir string) Agent {
	return Agent{DataDir: dir, ID: "n1", API: "127.0.0.1:7400", Cluster: "10.0.0.1:7401", Names: []string{"api.example.com"}}
}

func TestAFoundersDirectoryIsComplete(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	f, err := Found(agentIn(dir), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if f.Address != "10.0.0.1:7401" || f.Uses != foundingUses || f.TTL != time.Hour {
		t.Errorf("it is said %+v", f)
	}
	text, err := os.ReadFile(f.JoinToken)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jointoken.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := authority.Load(dir)
	if err != nil || ca.Pin() != token.Pin {
		t.Errorf("the CA has not the token's pin (%v)", err)
	}
	charter, err := membership.ReadCharter(dir)
	if err != nil || string(charter.CA) != string(ca.Cert()) || len(charter.JoinTokens) != 1 || string(charter.JoinTokens[0].PublicKey) != string(token.PublicKey()) {
		t.Errorf("the charter is %+v (%v)", charter, err)
	}
	operator, err := os.ReadFile(f.Operator)
	if err != nil {
		t.Fatal(err)
	}
	if _, hash, err := accesstoken.Parse(string(operator)); err != nil || len(charter.Operators) != 1 || !bytes.Equal(charter.Operators[0], hash[:]) {
		t.Errorf("the charter has the operators %x (%v)", charter.Operators, err)
	}
	files := &certificates.Files{
		CA: filepath.Join(dir, authority.CertName), Cert: filepath.Join(dir, authority.AgentCertName), Key: filepath.Join(dir, authority.AgentKeyName), ID: "n1",
	}
	cert, err := files.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n1", "localhost", "127.0.0.1", "::1", "10.0.0.1", "api.example.com"} {
		if err := cert.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{authority.KeyName, authority.AgentKeyName, JoinTokenName, OperatorTokenName} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	c, err := config.Source{Path: filepath.Join(dir, ConfigName)}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Agent.ID != "n1" || c.Agent.DataDir != dir || c.API.Listen != "127.0.0.1:7400" || c.Cluster.Listen != "10.0.0.1:7401" || c.Cluster.BootstrapExpect != 1 {
		t.Errorf("the configuration is %+v", c)
	}
	if _, err := Found(agentIn(dir), time.Now()); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second time: %v", err)
	}
}

func TestAFounderThatIsNotValid(t *testing.T) {
	for says, change := range map[string]func(*Agent){
		"--data-dir is missing": func(a *Agent) { a.DataDir = "" },
		"--id":                  func(a *Agent) { a.ID = "N" },
		"--api":                 func(a *Agent) { a.API = "7400" },
		"--cluster":             func(a *Agent) { a.Cluster = "" },
		"from 1 to 65535":       func(a *Agent) { a.Cluster = "127.0.0.1:0" },
		"wildcards":             func(a *Agent) { a.Names = []string{"*.example.com"} },
	} {
		a := agentIn(filepath.Join(t.TempDir(), "new"))
		change(&a)
		if _, err := Found(a, time.Now()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, which does not say %q", err, says)
		}
		if a.DataDir != "" && says != "wildcards" {
			if _, err := os.Stat(a.DataDir); err == nil {
				t.Errorf("%s: its directory was made", says)
			}
		}
	}
}

func TestAMemberDoesNotJoinAgain(t *testing.T) {
	dir := t.TempDir()
	if err := datadir.SaveIdentity(dir, datadir.Identity{ID: "n1", Incarnation: "a"}); err != nil {
		t.Fatal(err)
	}
	c := JoinConfig{Agent: agentIn(dir), Addresses: []string{"127.0.0.1:1"}, Clock: clock.WallClock, Logger: silent.Logger{}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Join(ctx, c); err == nil {
		t.Error("it has joined at an address where nobody is")
	}
	first, err := os.ReadFile(filepath.Join(dir, authority.AgentKeyName))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _ = Join(ctx, c)
	if again, err := os.ReadFile(filepath.Join(dir, authority.AgentKeyName)); err != nil || string(again) != string(first) {
		t.Errorf("it has another key (%v)", err)
	}
	c.Addresses = []string{"nowhere"}
	if _, err := Join(t.Context(), c); err == nil || !strings.Contains(err.Error(), `"nowhere" is not valid`) {
		t.Errorf("an address: %v", err)
	}
}
