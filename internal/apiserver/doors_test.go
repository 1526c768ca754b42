package apiserver

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

func TestWhatChangesTheAgentItselfIsForItsSocket(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, method := range []string{"Config", "Reload", "Drain", "Leave"} {
		before := nd.engine.drained + nd.engine.left
		if r := nd.curl("EngineService/"+method, `{}`); r.status != 501 || r.kind() != "disabled" {
			t.Errorf("%s at the port: %d %s", method, r.status, r.body)
		}
		if nd.engine.drained+nd.engine.left > before {
			t.Fatalf("%s at the port has stopped the agent", method)
		}
		if r := nd.post(nd.socket+"/interrex.v1.EngineService/"+method, "application/json", []byte(`{}`)); r.status != 200 {
			t.Errorf("%s at the socket: %d %s", method, r.status, r.body)
		}
	}
	if nd.engine.drained != 1 || nd.engine.left != 1 {
		t.Errorf("drained %d times, left %d times", nd.engine.drained, nd.engine.left)
	}
}

func TestHowTheAgentDoesIsForThoseWithTheRule(t *testing.T) {
	n := closedAPI(t)
	_, ann := n.token("ann", "lease:*:*")
	_, monitor := n.token("monitor", "agent:read:*")
	for by, status := range map[string]int{ann: 403, monitor: 200} {
		for _, method := range []string{"Status", "Report"} {
			r := n.kv("POST", "/interrex.v1.EngineService/"+method, `{}`, "Authorization: "+by, "Content-Type: application/json")
			if r.status != status {
				t.Errorf("%s by %.12q: %d %s", method, by, r.status, r.body)
			}
		}
	}
}

// A page of another site must not use the API of the machine on which it is shown.
func TestAPageOfAnotherSiteIsRefused(t *testing.T) {
	nd := cluster(t, 1)[0]
	loopback := "http://" + nd.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nd.server.Handler().ServeHTTP(w, r.WithContext(admission.WithEntrance(r.Context(), admission.Entrance{Loopback: true}, func() {})))
	}))
	for what, change := range map[string]func(r *http.Request){
		"":               func(*http.Request) {},
		"another origin": func(r *http.Request) { r.Header.Set("Origin", "https://other.example") },
		"another host":   func(r *http.Request) { r.Host = "other.example" },
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, loopback+interrexv1.LeaseServiceGetProcedure, strings.NewReader(`{"key":"a/b"}`))
		nd.must(err)
		r.Header.Set("Content-Type", "application/json")
		change(r)
		if got := nd.send(r); (got.kind() == "denied") != (what != "") {
			t.Errorf("%q: %d %s", what, got.status, got.body)
		}
	}
}

func TestAnAgentThatKnowsNoLeaderIsNotReady(t *testing.T) {
	leader := new(atomic.Pointer[interrex.Leadership])
	leader.Store(&interrex.Leadership{Term: 5})
	nd := cluster(t, 1, func(c *Config) { c.Leadership = seen{c.Leadership, leader} })[0]
	if r := nd.get(nd.url + "/readyz"); r.status != 503 || !strings.Contains(r.body, "[-] leader: no leader is known in term 5\n") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := nd.get(nd.url + "/readyz?leaderless"); r.status != 200 {
		t.Errorf("leaderless: %d %s", r.status, r.body)
	}
	leader.Store(&interrex.Leadership{Term: 5, LeaderID: "b"})
	if r := nd.get(nd.url + "/readyz"); r.status != 200 {
		t.Errorf("with a leader: %d %s", r.status, r.body)
	}
}

// seen is a leadership whose present value a test sets.
type seen struct {
	consistency.Leadership
	now *atomic.Pointer[interrex.Leadership]
}

func (s seen) Current() interrex.Leadership { return *s.now.Load() }

func TestWhatTheLeaderVetsIsNotProposed(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) {
		c.Vet = func(table state.TableID, _ state.Command) func(context.Context) error {
			if table != machine.LeaseTable {
				return nil
			}
			return func(context.Context) error { return interrex.Errorf(interrex.ErrConflict, "not now") }
		}
	})[0]
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann"}`); r.kind() != "conflict" || !strings.Contains(r.body, "not now") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := nd.leases.Count(); n != 0 {
		t.Errorf("%d leases are held", n)
	}
}

func TestAnEventHasTheDocumentOfItsService(t *testing.T) {
	nd := cluster(t, 1)[0]
	w, err := nd.ring.Watch(0, interest.Scope{}, func(e *state.Event) bool { return e.Table == machine.LeaseTable })
	nd.must(err)
	defer w.Close()
	nd.claimed("jobs/x", "ann")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events, err := w.Next(ctx)
	nd.must(err)
	if text, err := nd.server.Data(&events[0]); err != nil || !strings.Contains(string(text), `"jobs/x"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// slowEngine counts its reports, which end when they may.
type slowEngine struct {
	Engine
	asked atomic.Int64
	may   chan struct{}
}

func (e *slowEngine) Report() map[string]any {
	n := e.asked.Add(1)
	<-e.may
	return map[string]any{"n": n}
}

// An engine that hangs blocks one goroutine, not one for each caller; a report is never
// older than its request.
func TestOneReportIsAskedForAtATimeAndNoneIsKept(t *testing.T) {
	e := &slowEngine{may: make(chan struct{})}
	r := &reporter{engine: e}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := r.get(ctx); interrex.KindOf(err) != interrex.ErrTimeout {
			t.Errorf("%v", err)
		}
		cancel()
	}
	if n := e.asked.Load(); n > 1 {
		t.Errorf("%d reports were asked for", n)
	}
	close(e.may)
	first, err := r.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.get(t.Context())
	if err != nil || second["n"] == first["n"] {
		t.Errorf("a report is given twice: %v, %v", second, err)
	}
}
