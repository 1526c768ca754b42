package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
)

// members answer what an agent without raft forwards: with the caller's door and address,
// once held is closed or the request ends.
type members struct {
	may   atomic.Pointer[interrex.Error]
	held  chan struct{}
	began chan string
	ended chan error // causes
}

func (m *members) May(*http.Request) error {
	if err := m.may.Load(); err != nil {
		return err
	}
	return nil
}

func (*members) Epoch() interrex.Epoch { return interrex.Epoch{Number: 7} }

func (m *members) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.began <- r.URL.Path
	select {
	case <-m.held:
		c := admission.CallerOf(r.Context())
		_, _ = fmt.Fprintf(w, "operator %v at door %v from %s", c.Operator, c.Door, c.Remote)
	case <-r.Context().Done():
		m.ended <- context.Cause(r.Context())
	}
}

// forwarding returns an agent without raft, and its members.
func forwarding(t *testing.T) (*node, *members) {
	m := &members{held: make(chan struct{}), began: make(chan string, 10), ended: make(chan error, 10)}
	nd := cluster(t, 1, func(c *Config) { c.Elsewhere = m })[0]
	nd.engine.status = interrex.Status{State: interrex.Forwarding, Alarms: []interrex.Alarm{{Name: "forward-down"}}}
	return nd, m
}

// What concerns the agent itself is for callers that a member knows; the member also
// decides what becomes of everything else.
func TestAMemberSaysWhoMaySeeAnAgentWithoutRaft(t *testing.T) {
	nd, m := forwarding(t)
	close(m.held)
	m.may.Store(interrex.Errorf(interrex.ErrDenied, "ann lacks a rule"))
	status := func(url string) reply {
		return nd.post(url+"/interrex.v1.EngineService/Status", "application/json", []byte(`{}`))
	}
	for what, r := range map[string]reply{"the status": status(nd.url), "the metrics": nd.get(nd.url + "/metrics")} {
		if r.status != 403 || !strings.Contains(r.body, "ann lacks a rule") {
			t.Errorf("%s, refused by a member: %d %s", what, r.status, r.body)
		}
	}
	for what, r := range map[string]reply{"the status": status(nd.socket), "the metrics": nd.get(nd.socket + "/metrics")} {
		if r.status != 200 {
			t.Errorf("%s at the socket: %d %s", what, r.status, r.body)
		}
	}
	if r := nd.curl("LeaseService/Get", `{}`); r.status != 200 || !strings.HasPrefix(r.body, "operator false at door ") || !strings.Contains(r.body, " from 127.0.0.1:") {
		t.Errorf("what a member answers: %d %s", r.status, r.body)
	}
	if r := nd.get(nd.url + "/readyz?verbose"); strings.Contains(r.body, "forward-down") {
		t.Errorf("the probe tells everybody: %s", r.body)
	}
	m.may.Store(nil)
	if r := status(nd.url); r.status != 200 || r.at("state") != "forwarding" || r.at("epoch") != "7" {
		t.Errorf("the status: %d %s", r.status, r.body)
	}
	if r := nd.curl("EngineService/Config", `{}`); r.kind() != "disabled" {
		t.Errorf("the configuration at the port: %d %s", r.status, r.body)
	}
	if r := nd.post(nd.socket+"/interrex.v1.EngineService/Config", "application/json", []byte(`{}`)); r.status != 200 {
		t.Errorf("the configuration at the socket: %d %s", r.status, r.body)
	}
	if r := nd.post(nd.socket+"/interrex.v1.LeaseService/Get", "application/json", []byte(`{}`)); !strings.HasPrefix(r.body, "operator true at door ") {
		t.Errorf("what a member answers at the socket: %s", r.body)
	}
	if r := nd.get(nd.socket + "/readyz?verbose"); !strings.Contains(r.body, "forward-down") {
		t.Errorf("the probe at the socket: %s", r.body)
	}
}

func TestAClosedPortForwardsOnlyWhatShowsAToken(t *testing.T) {
	nd, m := forwarding(t)
	close(m.held)
	closed := "http://" + nd.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nd.server.Handler().ServeHTTP(w, r.WithContext(admission.WithEntrance(r.Context(), admission.Entrance{Closed: true}, func() {})))
	}))
	for token, status := range map[string]int{"": 401, "Bearer x": 200} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, closed+interrexv1.LeaseServiceGetProcedure, strings.NewReader(`{}`))
		nd.must(err)
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		if a := nd.send(r); a.status != status {
			t.Errorf("with the token %q: %d %s", token, a.status, a.body)
		}
	}
	if r := nd.get(closed + "/livez"); r.status == 401 {
		t.Errorf("a probe: %s", r.body)
	}
	if len(m.began) != 1 {
		t.Errorf("%d requests were forwarded, not one", len(m.began))
	}
}

// A drain waits for what a member is about to answer, and ends streams, which may last
// for ever.
func TestAnAgentWithoutRaftDrainsWhatItForwards(t *testing.T) {
	nd, m := forwarding(t)
	unary, stream := make(chan reply, 1), make(chan reply, 1)
	go func() { unary <- nd.curl("LeaseService/Claim", `{}`) }()
	go func() {
		stream <- nd.post(nd.url+interrexv1.LeaseServiceWatchProcedure, "application/connect+json", nil)
	}()
	<-m.began
	<-m.began
	ended := make(chan error, 1)
	go func() { ended <- nd.server.Drain(t.Context()) }()
	if cause := <-m.ended; interrex.KindOf(cause) != interrex.ErrDraining {
		t.Errorf("the stream ends with %v", cause)
	}
	<-stream
	if r := nd.curl("LeaseService/Get", `{}`); r.status != 503 || r.kind() != "draining" {
		t.Errorf("a request during the drain: %d %s", r.status, r.body)
	}
	select {
	case err := <-ended:
		t.Errorf("the drain has not waited: %v", err)
	default:
	}
	close(m.held)
	if r := <-unary; r.status != 200 {
		t.Errorf("the request that was open: %d %s", r.status, r.body)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("too late"))
	defer cancel()
	select {
	case err := <-ended:
		nd.must(err)
	case <-ctx.Done():
		t.Error("the drain goes on though nothing is open")
	}
}
