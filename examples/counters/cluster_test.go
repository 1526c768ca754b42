package counters_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/examples/counters"
	"github.com/interrex/interrex/examples/counters/gen/countersv1"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/interrextest"
)

// cluster is three agents with the table, whose raft makes a snapshot after a few
// entries.
func cluster(t *testing.T) *interrextest.Cluster {
	t.Helper()
	return interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(_ int, c *agent.Config) {
		c.Tables = []agent.Table{counters.Table}
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 16, time.Second
	}})
}

// follower returns an agent that does not lead.
func follower(c *interrextest.Cluster) int { return (c.Leader() + 1) % len(c.Agents()) }

// oneShot returns a client of an agent that makes unary calls.
func oneShot(t *testing.T, a *agent.Agent) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{"http://" + a.Addrs()["api"]}, OneShot: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// post sends what curl would, and returns the status and the JSON.
func post(t *testing.T, a *agent.Agent, method, body string) (status int, answer map[string]any) {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := hc.Post("http://"+a.Addrs()["api"]+"/"+method, "application/json", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, answer
}

// counted checks the value of a counter by a strong read on every agent.
func counted(t *testing.T, c *interrextest.Cluster, k interrex.Key, want uint64) {
	t.Helper()
	for i, a := range c.Agents() {
		got, _, err := counters.Client{By: a}.Get(t.Context(), k, interrex.ReadOptions{})
		if err != nil || got.Value != want || got.Key != k {
			t.Errorf("agent %d: %+v (%v), want %d", i, got, err, want)
		}
	}
}

func TestEveryWayCounts(t *testing.T) {
	c := cluster(t)
	want := uint64(0)
	for i, a := range c.Agents() {
		for name, by := range map[string]client.Caller{
			"the agent's own process": a, "a stream": c.Client(i), "unary calls": oneShot(t, a),
		} {
			want++
			got, err := counters.Client{By: by}.Increment(t.Context(), counters.Increment{Key: visits, By: 1}, client.Options{})
			if err != nil || got.Counter.Value != want || got.Revision == 0 {
				t.Errorf("agent %d, %s: %+v (%v), want %d", i, name, got, err, want)
			}
		}
		want++
		status, answer := post(t, a, "counters.v1.CounterService/Increment", `{"key":"web/visits","by":1}`)
		if counter, _ := answer["counter"].(map[string]any); status != 200 || counter["value"] != fmt.Sprint(want) {
			t.Errorf("agent %d, JSON: %d %v, want %d", i, status, answer, want)
		}
	}
	counted(t, c, visits, want)
	page, next, err := counters.Client{By: c.Client(follower(c))}.List(t.Context(), "", interrex.ReadOptions{})
	if err != nil || next != "" || len(page) != 1 || page[0].Value != want {
		t.Errorf("the list: %+v, %q, %v", page, next, err)
	}
}

func TestAPageEndsAndGoesOn(t *testing.T) {
	a := interrextest.Start(t, agent.Config{Tables: []agent.Table{counters.Table}})
	by := counters.Client{By: a}
	for i := range counters.MaxPage + 1 {
		if _, err := by.Set(t.Context(), counters.Set{Key: interrex.Key{Namespace: "a", Name: fmt.Sprintf("%05d", i)}, Value: uint64(i)}, client.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	page, next, err := by.List(t.Context(), "", interrex.ReadOptions{})
	if err != nil || len(page) != counters.MaxPage || next != "a/00999" {
		t.Fatalf("the first page has %d, then %q, %v", len(page), next, err)
	}
	page, next, err = by.List(t.Context(), next, interrex.ReadOptions{})
	if err != nil || len(page) != 1 || next != "" || page[0].Value != counters.MaxPage {
		t.Errorf("the last page: %+v, then %q, %v", page, next, err)
	}
}

func TestARequestIDCountsOnce(t *testing.T) {
	c := cluster(t)
	i := follower(c)
	// With the caller's own id each call is one attempt, and the stream may break or
	// the leader change meanwhile.
	retried := false
	once := func(by client.Caller, n uint64, attempt uint32) (answer counters.Answer, err error) {
		for range 10 {
			answer, err = counters.Client{By: by}.Increment(t.Context(), counters.Increment{Key: visits, By: n}, client.Options{RequestID: "mine", Attempt: attempt})
			if interrex.KindOf(err) != interrex.ErrOutcomeUnknown {
				break
			}
			attempt++
			retried = true
		}
		return answer, err
	}
	first, err := once(c.Client(i), 2, 0)
	if err != nil || first.Replayed && !retried {
		t.Fatal(first, err)
	}
	if _, err := (counters.Client{By: c.Agent(i)}).Increment(t.Context(), counters.Increment{Key: visits, By: 5}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, by := range []client.Caller{c.Client(c.Leader()), c.Agent(i), oneShot(t, c.Agent(i))} {
		again, err := once(by, 2, 1)
		if err != nil || !again.Replayed || again.Counter != first.Counter || again.Revision != first.Revision {
			t.Errorf("asked again: %+v (%v), want %+v replayed", again, err, first)
		}
	}
	status, answer := post(t, c.Agent(i), "counters.v1.CounterService/Increment", `{"key":"web/visits","by":2,"request_id":"mine","attempt":2}`)
	if status != 200 || answer["replayed"] != true {
		t.Errorf("asked again by JSON: %d %v", status, answer)
	}
	if _, err := once(c.Agent(i), 3, 1); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("another request under the same id: %v", err)
	}
	counted(t, c, visits, 7)
}

func TestAFencedSetNeedsItsLease(t *testing.T) {
	c := cluster(t)
	a := c.Agent(follower(c))
	held, err := a.Leases().Hold(t.Context(), "web/leader", interrex.HoldOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fence := interrex.Fence{Key: held.Key(), Token: held.Token()}
	set := func(by client.Caller, value uint64) error {
		_, err := counters.Client{By: by}.Set(t.Context(), counters.Set{Key: visits, Value: value}, client.Options{Fence: fence})
		return err
	}
	for _, by := range []client.Caller{a, c.Client(), oneShot(t, a)} {
		if err := set(by, 4); err != nil {
			t.Error(err)
		}
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, by := range []client.Caller{a, c.Client(), oneShot(t, a)} {
		if err := set(by, 5); !errors.Is(err, interrex.ErrNotHeld) {
			t.Errorf("after the lease's end: %v, want not held", err)
		}
	}
	status, answer := post(t, a, "counters.v1.CounterService/Set", fmt.Sprintf(`{"key":"web/visits","value":5,"fence":{"key":"web/leader","token":%d}}`, fence.Token))
	if status != interrex.ErrNotHeld.HTTP() {
		t.Errorf("after the lease's end, by JSON: %d %v", status, answer)
	}
	counted(t, c, visits, 4)
}

func TestAConflictIsFinal(t *testing.T) {
	c := cluster(t)
	by := counters.Client{By: c.Client(follower(c))}
	if _, err := by.Set(t.Context(), counters.Set{Key: visits, Value: 4}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := by.Increment(t.Context(), counters.Increment{Key: visits, By: 2, Limit: 5}, client.Options{})
	if took := time.Since(began); !errors.Is(err, interrex.ErrConflict) || took > 15*time.Second {
		t.Errorf("beyond the limit: %v after %v", err, took)
	}
	counted(t, c, visits, 4)
}

func TestACounterEndsOnEveryAgent(t *testing.T) {
	c := cluster(t)
	set, err := counters.Client{By: c.Agent(follower(c))}.Set(t.Context(), counters.Set{Key: visits, Value: 4, TTL: 2 * time.Second}, client.Options{})
	if err != nil || set.Counter.Remaining <= 0 || set.Counter.Remaining > 2*time.Second {
		t.Fatalf("%+v, %v", set, err)
	}
	counted(t, c, visits, 4)
	for i, a := range c.Agents() {
		eventually(t, fmt.Sprintf("it ends on agent %d", i), func() bool {
			_, _, err := counters.Client{By: a}.Get(t.Context(), visits, interrex.ReadOptions{Consistency: interrex.Eventual})
			return errors.Is(err, interrex.ErrNotFound)
		})
	}
}

func TestCountersOutliveARestart(t *testing.T) {
	c := cluster(t)
	i := follower(c)
	by := counters.Client{By: c.Agent(i)}
	ann := client.Options{RequestID: "ann"}
	first, err := by.Increment(t.Context(), counters.Increment{Key: visits, By: 1}, ann)
	if err != nil {
		t.Fatal(err)
	}
	for _, restarted := range []int{i, c.Leader()} {
		c.Restart(restarted)
		counted(t, c, visits, 1)
		if again, err := by.Increment(t.Context(), counters.Increment{Key: visits, By: 1}, ann); err != nil || !again.Replayed || again.Revision != first.Revision {
			t.Errorf("its request id, after a restart of agent %d: %+v (%v)", restarted, again, err)
		}
	}
}

func TestCountersOutliveASnapshot(t *testing.T) {
	c := cluster(t)
	brief, ann := interrex.Key{Namespace: "web", Name: "brief"}, client.Options{RequestID: "ann"}
	by := counters.Client{By: c.Agent(follower(c))}
	if _, err := by.Set(t.Context(), counters.Set{Key: brief, Value: 3, TTL: time.Hour}, client.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := by.Increment(t.Context(), counters.Increment{Key: visits, By: 1}, ann); err != nil {
		t.Fatal(err)
	}
	for range 31 {
		if _, err := by.Increment(t.Context(), counters.Increment{Key: visits, By: 1}, client.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.Agents() {
		eventually(t, fmt.Sprintf("agent %d has a snapshot", i), func() bool {
			found, err := filepath.Glob(filepath.Join(c.Dir(i), "*", "snapshots", "*[0-9]", "state.bin")) // .tmp is incomplete
			return err == nil && len(found) > 0
		})
		c.Restart(i)
	}
	counted(t, c, visits, 32)
	counted(t, c, brief, 3)
	left, _, err := by.Get(t.Context(), brief, interrex.ReadOptions{})
	if err != nil || left.Remaining <= 0 || left.Remaining > time.Hour {
		t.Errorf("what ends: %+v, %v", left, err)
	}
	if again, err := by.Increment(t.Context(), counters.Increment{Key: visits, By: 1}, ann); err != nil || !again.Replayed {
		t.Errorf("a request id from before: %+v, %v", again, err)
	}
}

// eventually waits until a test's condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(interrextest.Patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestCountersStandInAGroupWithLeases(t *testing.T) {
	c := cluster(t)
	k := interrex.Key{Namespace: "default", Name: "jobs"}
	a, err := client.Through(c.Agent(follower(c))).Group(t.Context(), []proto.Message{
		&countersv1.IncrementRequest{Key: k.String(), By: 5},
		&interrexv1.ClaimRequest{Key: "jobs/leader", Holder: "me"},
	}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, is := a.Value[0].(*countersv1.IncrementResponse); !is || got.GetRevision()+1 != uint64(a.Revision) {
		t.Errorf("%+v", a)
	}
	counted(t, c, k, 5)
}
