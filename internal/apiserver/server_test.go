package apiserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

func TestProbes(t *testing.T) {
	var failing error
	nd := cluster(t, 1, func(c *Config) {
		c.Ready = func() []Check { return []Check{{Name: "caught up", Err: failing, Leader: true}} }
		given := prometheus.NewGauge(prometheus.GaugeOpts{Name: "given"})
		given.Set(7)
		registry := prometheus.NewRegistry()
		registry.MustRegister(given)
		c.Metrics = registry
	})[0]
	check := func(path string, status int, texts ...string) {
		t.Helper()
		r := nd.get(nd.url + path)
		if r.status != status {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		for _, text := range texts {
			if !strings.Contains(r.body, text) {
				t.Errorf("%s: no %q in %s", path, text, r.body)
			}
		}
	}
	check("/livez", 200, "ok")
	check("/readyz", 200, "ok")
	check("/readyz?verbose", 200, "[+] leader", "[+] caught up", "ok")
	check("/healthz", 200, "ok")
	check("/leader", 200, `"leader_id":"a"`, nd.url)
	check("/metrics", 200, "given 7")

	failing = errors.New("40 entries behind")
	check("/readyz", 503, "[-] caught up: 40 entries behind")
	check("/readyz?leaderless", 200)
	check("/livez", 200)

	h := grpchealth.NewClient(nd.http, nd.url, connect.WithGRPC())
	if a, err := h.Check(t.Context(), &grpchealth.CheckRequest{Service: interrexv1.LeaseServiceName}); err != nil || a.Status != grpchealth.StatusNotServing {
		t.Errorf("health: %v %v", a, err)
	}
	failing = nil
	if a, err := h.Check(t.Context(), &grpchealth.CheckRequest{}); err != nil || a.Status != grpchealth.StatusServing {
		t.Errorf("health: %v %v", a, err)
	}
	if _, err := h.Check(t.Context(), &grpchealth.CheckRequest{Service: "nope"}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("health of an unknown service: %v", err)
	}
}

func TestAFollowerSaysWhoLeads(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	if r := f.get(f.url + "/leader"); r.status != 503 || r.at("leader_id") != l.id || r.at("leader_address") != l.url {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.get(f.url + "/readyz"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestReflectionNamesTheServices(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := grpcreflect.NewClient(nd.http, nd.url, connect.WithGRPC()).NewStream(t.Context())
	defer func() { _, _ = s.Close() }()
	names, err := s.ListServices()
	if err != nil || len(names) < 4 {
		t.Errorf("%v %v", names, err)
	}
}

func TestTheSocketManagesTheAgent(t *testing.T) {
	nd := cluster(t, 1)[0]
	socket := func(method string) reply {
		return nd.post(nd.socket+"/interrex.v1.EngineService/"+method, "application/json", []byte("{}"))
	}
	if r := socket("Config"); r.at("yaml") != "agent: {id: a}\n" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := socket("Reload"); r.at("changed", 0) != "logging" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := socket("Drain"); r.status != 200 || nd.engine.drained != 1 {
		t.Errorf("%d %s", r.status, r.body)
	}
	nd.engine.err = errors.New("interrex.yaml: line 3: unknown key")
	if r := socket("Reload"); r.kind() != "invalid" || !strings.Contains(r.body, "line 3") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := nd.get(nd.socket + "/debug/pprof/cmdline"); r.status != 200 {
		t.Errorf("pprof on the socket: %d", r.status)
	}
	if r := nd.get(nd.url + "/debug/pprof/cmdline"); r.status != 404 {
		t.Errorf("pprof on the public port: %d", r.status)
	}
}

func TestADrainEndsBeforeItsCallerGivesUp(t *testing.T) {
	nd := cluster(t, 1)[0]
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, nd.socket+"/interrex.v1.EngineService/Drain", strings.NewReader("{}"))
	nd.must(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Connect-Timeout-Ms", "1000000")
	began := time.Now()
	if got := nd.send(r); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	// The rest of the time is reserved for the caller to learn the reason.
	if left := nd.engine.end.Sub(began); left < 800*time.Second || left > 950*time.Second {
		t.Errorf("of 1000 s it has %s", left)
	}
}

func TestReportIsTheEngines(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.engine.report = map[string]any{
		"state": "started",
		"manifolds": map[string]any{
			"raft": map[string]any{
				"state": "started", "inputs": []string{"clock", "transport"}, "start-count": 2,
				"started": "2026-01-02 03:04:05", lives.KeyFailures: 4, lives.KeyNextStart: time.Unix(1, 0),
				"report": map[string]any{"term": uint64(3), "last-contact": 20 * time.Millisecond, "error": errors.New("none")},
			},
			"clock": map[string]any{"state": "stopped", "error": errors.New("off by configuration")},
		},
	}
	r := nd.curl("EngineService/Report", `{}`)
	if r.at("agent_id") != "a" || r.at("state") != "started" || r.at("workers", 0, "name") != "clock" || r.at("workers", 0, "error") != "off by configuration" {
		t.Errorf("%s", r.body)
	}
	if r.at("workers", 1, "failures") != 4.0 || r.at("workers", 1, "next_start_at") != "1970-01-01T00:00:01Z" {
		t.Errorf("%s", r.body)
	}
	if r.at("workers", 1, "starts") != 2.0 || r.at("workers", 1, "inputs", 1) != "transport" || r.at("workers", 1, "started_at") == nil ||
		r.at("workers", 1, "report", "term") != 3.0 || r.at("workers", 1, "report", "last-contact") != "20ms" || r.at("workers", 1, "report", "error") != "none" {
		t.Errorf("%s", r.body)
	}
}

func TestStatusIsOneScreen(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("a/b", "ann")
	contact, match := 5*time.Millisecond, uint64(7)
	nd.engine.status = interrex.Status{State: interrex.Leader, Quorum: "1 of 1", Members: []interrex.Member{{ID: "a", Suffrage: "voter", Leader: true, LastContact: &contact, APIAddress: "a:7400", Silent: true, Refusal: "old disk", MatchIndex: &match}, {ID: "b"}},
		Log:    interrex.LogStatus{FirstIndex: 3, LastIndex: 9, LastTerm: 2, CommitIndex: 8},
		Alarms: []interrex.Alarm{{Name: "member-silent", Subject: "b", Since: time.Unix(1, 0), Text: "gone", Do: "start it"}}}
	r := nd.curl("EngineService/Status", `{}`)
	if r.at("id") != "a" || r.at("leases") != "1" || r.at("revision") != "1" || r.at("ready") != true || r.at("leader_address") != nd.url || r.at("members", 0, "last_contact") != "0.005s" {
		t.Errorf("%s", r.body)
	}
	for field, want := range map[string]any{
		"state": "leader", "first_index": "3", "last_index": "9", "last_term": "2", "commit_index": "8", "membership": "stable",
	} {
		if got := r.at(field); got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
	if r.at("members", 0, "match_index") != "7" || r.at("members", 1, "match_index") != nil {
		t.Errorf("%s", r.body)
	}
	for field, want := range map[string]any{
		"name": "member-silent", "subject": "b", "since": "1970-01-01T00:00:01Z", "text": "gone", "do": "start it",
	} {
		if got := r.at("alarms", 0, field); got != want {
			t.Errorf("the alarm's %s is %v, want %v", field, got, want)
		}
	}
	if r.at("members", 0, "silent") != true || r.at("members", 0, "refusal") != "old disk" || r.at("members", 0, "api_address") != "a:7400" {
		t.Errorf("%s", r.body)
	}
	// The probe lists alarms for people, but is ready nevertheless.
	if r := nd.get(nd.url + "/readyz?verbose"); r.status != 200 || !strings.Contains(r.body, "[!] alarm member-silent b: gone; since 1970-01-01T00:00:01Z; start it\n") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := nd.get(nd.url + "/readyz"); r.status != 200 || r.body != "ok\n" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestDrainFinishesWhatIsOpen(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/busy", "ann")
	unary := make(chan reply, 1)
	go func() { unary <- nd.curl("LeaseService/Claim", `{"key":"jobs/busy","holder":"bob","wait":"3600s"}`) }()
	s := nd.stream(t.Context(), nd.url)
	s.send(waitOp(1, "jobs/busy", "eve", time.Hour))
	w := nd.watch(&interrexv1.WatchRequest{Namespace: "jobs"})
	w.expect("lease.present", "jobs/busy")
	w.expect("end_of_snapshot", "")
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 2 })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nd.must(nd.server.Drain(ctx))
	if r := <-unary; r.status != 503 || r.kind() != "draining" {
		t.Errorf("unary: %d %s", r.status, r.body)
	}
	if a := s.answers(1)[1]; a.GetError().GetKind() != "draining" {
		t.Errorf("stream: %v", a)
	}
	if _, err := s.conn.Receive(); interrex.KindOf(wire.FromError(err, true)) != interrex.ErrDraining {
		t.Errorf("the end of the stream: %v", err)
	}
	if w.s.Receive() || interrex.KindOf(wire.FromError(w.s.Err(), false)) != interrex.ErrDraining {
		t.Errorf("watch: %v", w.s.Err())
	}
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"bob"}`); r.status != 503 || r.kind() != "draining" {
		t.Errorf("a new call: %d %s", r.status, r.body)
	}
	if r := nd.get(nd.url + "/readyz"); r.status != 503 {
		t.Errorf("readyz: %d", r.status)
	}
	if r := nd.get(nd.url + "/livez"); r.status != 200 {
		t.Errorf("livez: %d", r.status)
	}
	if r := nd.curl("EngineService/Status", `{}`); r.at("draining") != true {
		t.Errorf("status: %s", r.body)
	}
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	c := admission.NewCalls(nil)
	if err := c.Enter(admission.Brief, "ann"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Drain(ctx); interrex.KindOf(err) != interrex.ErrTimeout {
		t.Errorf("%v", err)
	}
	c.Leave(admission.Brief, "ann", 1)
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConfigSaysWhatIsMissing(t *testing.T) {
	if _, err := New(Config{ID: "a"}); err == nil || !strings.Contains(err.Error(), "nil State not valid") {
		t.Errorf("%v", err)
	}
	if _, err := listener.New(listener.Config{}); err == nil || !strings.Contains(err.Error(), "nil Listener not valid") {
		t.Errorf("%v", err)
	}
}

func TestListenerRefusesConnectionsBeyondItsLimit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, err := listener.New(listener.Config{Listener: l, Handler: http.NotFoundHandler(), Logger: silent.Logger{}, MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Kill(); _ = w.Wait() }()
	first, err := net.Dial("tcp", w.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = first.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	one := make([]byte, 1)
	if _, err := first.Read(one); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", w.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if _, err := second.Read(one); err == nil {
		t.Error("the second connection is served")
	}
	_ = first.Close()
	for served := false; !served; { // until the first one's slot is free
		third, err := net.Dial("tcp", w.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = third.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		_, err = third.Read(one)
		served = err == nil
		_ = third.Close()
	}
}

func TestListenerEndsWithItsSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, err := listener.New(listener.Config{Listener: l, Handler: http.NotFoundHandler(), Logger: silent.Logger{}})
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := w.Wait(); err == nil {
		t.Error("the loss of the socket is no error")
	}
}

func TestEveryAnswerCarriesTheEpoch(t *testing.T) {
	nd := cluster(t, 1)[0]
	if r := nd.get(nd.url + "/livez"); r.header.Get(wire.HeaderEpoch) != "" {
		t.Errorf("an agent of no cluster is in epoch %s", r.header.Get(wire.HeaderEpoch))
	}
	id := machine.Identity{ClusterID: strings.Repeat("c", 32), Epoch: interrex.Epoch{Number: 3, Bits: 0xabc}}
	entry := (&machine.Entry{Wall: time.Now(), Operations: []state.Operation{
		{Table: machine.SystemTable, Data: (&machine.SetIdentity{Identity: id}).Append(nil)},
	}}).Append(nil)
	nd.must(nd.raft.Apply(entry, time.Second).Error())
	const want = "3-0000000000000abc"
	for _, r := range []reply{
		nd.get(nd.url + "/livez"), nd.get(nd.url + "/nowhere"), nd.curl("LeaseService/List", `{}`),
		nd.curl("LeaseService/Claim", `{`), nd.curl("LeaseService/Get", `{"key":"a/free"}`),
	} {
		if got := r.header.Get(wire.HeaderEpoch); got != want {
			t.Errorf("epoch %q on a %d, want %q", got, r.status, want)
		}
	}
	w := nd.watch(&interrexv1.WatchRequest{})
	w.expect("end_of_snapshot", "")
	if got := w.s.ResponseHeader().Get(wire.HeaderEpoch); got != want {
		t.Errorf("epoch %q on a watch", got)
	}
}
