package featuretests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

// protocols are all of them, in the order in which they are recorded.
var protocols = []protocol{overJSON, overProto, overGRPC}

// askAll makes exchanges with one agent, all at once and over every protocol, and
// records them. begun, if not nil, is called once they are in flight.
func askAll(t *testing.T, out *strings.Builder, url string, asked []exchange, begun func()) {
	t.Helper()
	answers := make([][3]response, len(asked))
	var running sync.WaitGroup
	for i, x := range asked {
		for _, p := range protocols {
			k := newTalker(t, url, p)
			running.Go(func() { answers[i][p] = k.ask(x) })
		}
	}
	if begun != nil {
		begun()
	}
	running.Wait()
	for i, x := range asked {
		write(t, out, x, answers[i][overJSON], answers[i][overProto], answers[i][overGRPC])
	}
}

// everyMethod are requests that need no lease.
func everyMethod(when string) []exchange {
	all := []exchange{
		{method: "Claim", body: `{"key":"jobs/new","holder":"ann","ttl":"3600s"}`},
		{method: "Extend", body: `{"key":"jobs/new","token":"1"}`},
		{method: "Revoke", body: `{"key":"jobs/new","token":"1"}`},
		{method: "Transfer", body: `{"key":"jobs/new","token":"1","to":"bob"}`},
		{method: "Pin", body: `{"key":"jobs/new","owner":"ops"}`},
		{method: "Unpin", body: `{"key":"jobs/new","owner":"ops"}`},
		{method: "Get", body: `{"key":"jobs/new"}`},
		{method: "List", body: `{"namespace":"jobs"}`},
		{method: "History", body: `{"key":"jobs/new"}`},
	}
	for i := range all {
		all[i].name = all[i].method + " " + when
	}
	return all
}

func TestRefusalOfWhatIsSwitchedOffStays(t *testing.T) {
	t.Parallel()
	a, err := agent.New(withAPI(func(c *agent.Config) { c.Features.Leases = config.Off }))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Kill(); _ = a.Wait() })
	k := newTalker(t, apiOf(a), overJSON)
	eventually(t, "the agent leads a cluster that has its epoch", func() error {
		h := k.ask(exchange{method: "Get", body: `{"key":"jobs/new"}`}).header
		if h.Get("Interrex-Epoch") == "" || a.Status().State != interrex.Leader {
			return fmt.Errorf("the headers are %v", h)
		}
		return nil
	})
	var out strings.Builder
	askAll(t, &out, apiOf(a), everyMethod("while leases are off"), nil)
	golden(t, "disabled", out.String())
}

// Without a leader writes and strong reads are refused after a while; an
// eventual read is answered.
func TestRefusalWithoutALeaderStays(t *testing.T) {
	t.Parallel()
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	follower := (c.Leader() + 1) % 3
	c.Isolate(follower)
	url := apiOf(c.Agent(follower))
	k := newTalker(t, url, overJSON)
	eventually(t, "the agent knows of no leader", func() error {
		a := k.ask(exchange{method: "Get", body: `{"key":"jobs/new","consistency":"CONSISTENCY_EVENTUAL"}`})
		if leader := a.header.Get("Interrex-Leader-Id"); leader != "" {
			return errors.New(leader + " leads")
		}
		return nil
	})
	asked := append(everyMethod("without a leader"),
		exchange{name: "eventual get without a leader", method: "Get", body: `{"key":"jobs/new","consistency":"CONSISTENCY_EVENTUAL"}`},
		exchange{name: "eventual list without a leader", method: "List", body: `{"consistency":"CONSISTENCY_EVENTUAL"}`},
		exchange{name: "claim that waits without a leader", method: "Claim", body: `{"key":"jobs/new","holder":"ann","wait":"3600s"}`},
	)
	for i := range asked {
		asked[i].leaderless = true
	}
	var out strings.Builder
	askAll(t, &out, url, asked, nil)
	golden(t, "leaderless", out.String())
}

// Requests that wait when an agent stops are answered "draining".
func TestRefusalOfAnAgentThatStopsStays(t *testing.T) {
	t.Parallel()
	a := interrextest.Start(t, withAPI(nil))
	if _, err := a.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("jobs/a"), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	stopped := make(chan error, 1)
	asked := exchange{name: "claim that waits when its agent stops", method: "Claim", body: `{"key":"jobs/a","holder":"bob","wait":"3600s"}`}
	askAll(t, &out, apiOf(a), []exchange{asked}, func() {
		waiting(t, a.Leases(), key("jobs/a"), len(protocols))
		go func() { stopped <- a.Stop(context.WithoutCancel(t.Context())) }()
	})
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	golden(t, "draining", out.String())
}

// waiting waits until that many claims wait for a name, by the leader's count.
func waiting(t *testing.T, leader interrex.Leases, k interrex.Key, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d wait for %s", want, k), func() error {
		l, _, err := leader.Get(t.Context(), k, interrex.ReadOptions{})
		switch {
		case err != nil:
			return err
		case l.Waiting == nil:
			return errors.New("this agent does not lead")
		case *l.Waiting != want:
			return fmt.Errorf("there are %d", *l.Waiting)
		}
		return nil
	})
}

// The queue of a name has a limit.
func TestRefusalOfAFullLineStays(t *testing.T) {
	t.Parallel()
	a := interrextest.Start(t, withAPI(nil))
	line := interrex.ClaimRequest{Key: key("jobs/a"), Holder: "ann", TTL: time.Hour}
	if _, err := a.Leases().Claim(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	line.Wait = time.Hour
	ctx, leave := context.WithCancel(t.Context())
	var waiters sync.WaitGroup
	t.Cleanup(waiters.Wait)
	t.Cleanup(leave)
	for range 256 {
		waiters.Go(func() { _, _ = a.Leases().Claim(ctx, line) })
	}
	waiting(t, a.Leases(), line.Key, 256)
	var out strings.Builder
	asked := exchange{name: "claim that would be the 257th in line", method: "Claim", body: `{"key":"jobs/a","holder":"bob","wait":"3600s"}`}
	askAll(t, &out, apiOf(a), []exchange{asked}, nil)
	golden(t, "overloaded", out.String())
}

// An unpin that ends an overdue lease has no lease in its answer.
func TestAnswerOfAnUnpinThatEndsTheLeaseHasNone(t *testing.T) {
	t.Parallel()
	a := interrextest.Start(t, withAPI(nil))
	for i, p := range protocols {
		k := newTalker(t, apiOf(a), p)
		fill := func(method, format string, n int) exchange {
			return exchange{name: method, method: method, body: strings.ReplaceAll(format, "KEY", fmt.Sprintf("jobs/%d-%d", i, n))}
		}
		n := 0
		eventually(t, "a lease is pinned before it ends", func() error {
			n++
			k.ask(fill("Claim", `{"key":"KEY","holder":"ann","ttl":"0.5s"}`, n))
			if pin := k.ask(fill("Pin", `{"key":"KEY","owner":"ops"}`, n)); pin.code != "" && pin.code != "0" {
				return errors.New(pin.text)
			}
			return nil
		})
		k.ask(fill("Claim", `{"key":"KEY","holder":"bob","wait":"0.6s"}`, n)) // until it is overdue
		got := k.ask(fill("Unpin", `{"key":"KEY","owner":"ops"}`, n))
		if p == overJSON {
			var m map[string]any
			if err := json.Unmarshal([]byte(got.body), &m); err != nil || len(m) != 2 || m["revision"] == nil || m["replayed"] != false {
				t.Errorf("the answer is %s", got.body)
			}
		} else if !strings.HasPrefix(got.body, "\x18") {
			t.Errorf("the answer is %x, want only a revision", got.body)
		}
	}
}
