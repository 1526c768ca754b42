package featuretests

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/testport"
)

// addForwarder makes an agent without raft of a fleet that enrol has made, and starts it.
func (f *fleet) addForwarder(id string, change func(file string) string) int {
	f.t.Helper()
	data, ports := filepath.Join(f.dir, id), testport.Ports(f.t, 1)
	m := &member{file: filepath.Join(data, "interrex.yaml"), log: filepath.Join(f.dir, id+".log")}
	m.config.Agent = config.Agent{ID: id, DataDir: data}
	m.config.API.Listen = fmt.Sprint("127.0.0.1:", ports[0])
	token := filepath.Join(f.dir, id+".token")
	made := f.must("join-token", "create", "--addr", f.socket(0))
	made = made[max(0, strings.Index(made, "ixj1.")):] // behind what the command says while it waits
	if err := os.WriteFile(token, []byte(made), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.must("agent", "join", f.clusterAddress(0), "--token-file", token, "--data-dir", data, "--id", id, "--api", m.config.API.Listen, "--forward")
	text, err := os.ReadFile(m.file)
	if err == nil && change != nil {
		err = os.WriteFile(m.file, []byte(change(string(text))), 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.members = append(f.members, m)
	i := len(f.members) - 1
	f.start(i)
	f.until(id+" forwards", func() bool {
		out, _ := f.command("status", "--addr", f.socket(i))
		return strings.Contains(out, "forwarding, ready")
	})
	return i
}

// clusterAddress returns the cluster address of member i of a fleet that enrol has made.
func (f *fleet) clusterAddress(i int) string {
	f.t.Helper()
	for _, row := range strings.Split(f.must("status", "--addr", f.socket(i)), "\n") {
		if fields := strings.Fields(row); strings.HasPrefix(row, "member "+f.id(i)+" ") {
			return fields[len(fields)-1]
		}
	}
	f.t.Fatal("it does not say its address")
	return ""
}

// withToken adds the token's file to a configuration.
func withToken(path string) func(string) string {
	return func(file string) string {
		return strings.Replace(file, "api:\n", "api:\n  token-file: "+path+"\n", 1)
	}
}

// forwardsTo returns the index of the member that agent i forwards to, and of the leader.
func (f *fleet) forwardsTo(i int) (to, leader int) {
	f.t.Helper()
	out, _ := f.command("status", "--addr", f.socket(i))
	to, leader = -1, -1
	for n := range 3 {
		if strings.Contains(out, "forwarded to "+f.id(n)+" ") {
			to = n
		}
		if strings.Contains(out, "led by "+f.id(n)+"\n") {
			leader = n
		}
	}
	return to, leader
}

// TestAgentsWithoutRaftForwardEverything kills the member that they are connected to, and
// the leader, while a command holds a lease through one of them.
func TestAgentsWithoutRaftForwardEverything(t *testing.T) {
	t.Parallel()
	f := enrol(t, 3)
	operator := f.path(0, "operator.token")
	one := f.addForwarder("f1", withToken(operator))
	two := f.addForwarder("f2", nil)
	if out, err := f.command("lease", "claim", "a/b", "--addr", f.socket(two)); err == nil || !strings.Contains(out, "api.token-file") {
		t.Errorf("its socket has rights without a token: %s", out)
	}
	limited := strings.Fields(f.must("token", "create", "--name", "reader", "--rule", "lease:read,list:*", "-q", "--addr", f.socket(0)))[0]
	file := filepath.Join(f.dir, "limited.token")
	if err := os.WriteFile(file, []byte(limited), 0o600); err != nil {
		t.Fatal(err)
	}
	three := f.addForwarder("f3", withToken(file))
	if out, err := f.command("lease", "claim", "a/b", "--addr", f.socket(three)); err == nil || !strings.Contains(out, "lacks the rule lease:claim") {
		t.Errorf("its socket has more rights than its token: %s", out)
	}
	if out := f.must("lease", "list", "--addr", f.socket(three)); !strings.Contains(out, "KEY") {
		t.Errorf("its socket has fewer rights than its token: %s", out)
	}
	f.lockThrough(one)
	out := f.must("member", "list", "--addr", f.socket(one))
	if strings.Count(out, "forwards") != 3 || strings.Count(out, "voter")+strings.Count(out, "leader") < 2 {
		t.Errorf("the members are\n%s", out)
	}
	for i := range 3 {
		f.until("no member has met an agent without raft", func() bool {
			report, err := f.command("agent", "report", "-o", "json", "--addr", f.socket(i))
			return err != nil || !strings.Contains(report, `"f1"`)
		})
	}
}

// lockThrough runs a command under a lease through agent i, whose member and leader are
// killed meanwhile, one after the other.
func (f *fleet) lockThrough(i int) {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	ran := filepath.Join(f.dir, "ran")
	lock := &member{log: filepath.Join(f.dir, "lock.log")}
	log, err := os.Create(lock.log)
	if err != nil {
		f.t.Fatal(err)
	}
	defer log.Close()
	p, err := os.StartProcess(path, []string{path, "lock", "a/lock", "--ttl", "30s", "--addr", f.socket(i), "--", "sh", "-c", "while [ ! -e " + ran + " ]; do sleep 0.1; done"},
		&os.ProcAttr{Files: []*os.File{nil, log, log}, Env: os.Environ(), Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
	if err != nil {
		f.t.Fatal(err)
	}
	token := ""
	holds := func() bool {
		out, err := f.command("lease", "get", "a/lock", "-o", "json", "--addr", f.socket(i))
		_, rest, _ := strings.Cut(out, `"token":`)
		now, _, _ := strings.Cut(rest, ",")
		if token == "" {
			token = now
		}
		return err == nil && now != "" && now == token
	}
	f.until("the command holds the lease", holds)
	to, _ := f.forwardsTo(i)
	f.kill(to)
	f.until("it goes on through another member", holds)
	f.until("it is connected to another member", func() bool {
		now, leader := f.forwardsTo(i)
		return now >= 0 && now != to && leader >= 0 && leader != to
	})
	f.start(to)
	f.until("all three vote", func() bool { return f.votes(to, 3) })
	leader := -1
	f.until("it knows the leader", func() bool { _, leader = f.forwardsTo(i); return leader >= 0 })
	f.kill(leader)
	f.until("it goes on under another leader", func() bool { _, now := f.forwardsTo(i); return now >= 0 && now != leader && holds() })
	f.start(leader)
	if err := os.WriteFile(ran, nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
	state, err := p.Wait()
	if text, _ := os.ReadFile(lock.log); err != nil || state.ExitCode() != 0 {
		f.t.Errorf("lock ended with %v (%v): %s", state, err, text)
	}
}

// TestTheRaftProtocolIsClosedToAgentsWithoutRaft runs one with raft all the same, and
// shows its certificate at the cluster port.
func TestTheRaftProtocolIsClosedToAgentsWithoutRaft(t *testing.T) {
	t.Parallel()
	f := enrol(t, 1)
	i := f.addForwarder("f1", nil)
	f.signal(i, syscall.SIGTERM)
	f.exit(i)
	file := f.members[i].file
	text, err := os.ReadFile(file)
	if err == nil {
		plain := strings.Replace(string(text), "raft:\n  enabled: false\n", "", 1)
		plain = strings.Replace(plain, "0.0.0.0:7401", fmt.Sprint("127.0.0.1:", testport.Ports(t, 1)[0]), 1)
		err = os.WriteFile(file, []byte(plain), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.start(i)
	const words = "agent f1 was admitted to run without raft: the raft protocol is closed to it"
	f.logged(0, words)
	f.logged(i, words)
	f.until("its status says so", func() bool {
		out, _ := f.command("status", "--addr", f.socket(i))
		return strings.Contains(out, words)
	})
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(f.path(i, authority.CertName))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", f.clusterAddress(0), &tls.Config{
		RootCAs: roots, ServerName: "n0", Certificates: []tls.Certificate{f.certificate(i)}, NextProtos: []string{"interrex-raft/1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); err == nil && n > 0 {
		t.Error("it is answered before it has said who it is")
	}
}

// TestAProgramWithAnAgentWithoutRaftHoldsLeases embeds one.
func TestAProgramWithAnAgentWithoutRaftHoldsLeases(t *testing.T) {
	t.Parallel()
	f := enrol(t, 1)
	i := f.addForwarder("f1", nil)
	f.signal(i, syscall.SIGTERM)
	f.exit(i)
	dir := f.members[i].config.Agent.DataDir
	a, err := agent.New(agent.Config{
		DataDir: dir, API: config.API{TokenFile: f.path(0, "operator.token")}, Raft: config.Raft{Enabled: config.Off},
		Cluster: config.Cluster{Join: []string{f.clusterAddress(0)}, TLS: config.TLSFiles{
			CA: filepath.Join(dir, authority.CertName), Cert: filepath.Join(dir, authority.AgentCertName), Key: filepath.Join(dir, authority.AgentKeyName),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop(context.Background()) }()
	if err := a.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	key := interrex.Key{Namespace: "mine", Name: "leader"}
	err = a.Leases().Run(ctx, key.String(), interrex.HoldOptions{TTL: 5 * time.Second}, func(ctx context.Context, held interrex.Held) error {
		out := f.must("lease", "get", key.String(), "--addr", f.socket(0))
		if !strings.Contains(out, fmt.Sprint(held.Token())) {
			t.Errorf("it does not hold it: %s", out)
		}
		return interrex.ErrStopCampaign
	})
	if err != nil {
		t.Error(err)
	}
	if err := a.Stop(ctx); err != nil {
		t.Error(err)
	}
	if out, err := f.command("lease", "get", key.String(), "--addr", f.socket(0)); err == nil {
		t.Errorf("it is not released: %s", out)
	}
}
