package featuretests

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// feedOf reads the whole feed of one agent, once it has applied a revision.
func feedOf(t *testing.T, a *agent.Agent, upTo interrex.Revision) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []interrex.Change
	for q := (interrex.ListChangesRequest{Limit: 100, MinRevision: upTo}); ; {
		p, err := a.Changes().List(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Items...)
		if p.AtEnd {
			text, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		q.Since = p.Items[len(p.Items)-1].Revision
	}
}

// changeAll changes all tables through one agent, and returns the last revision.
func changeAll(t *testing.T, a *agent.Agent, round string) interrex.Revision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	held, err := a.Leases().Hold(ctx, "feed/"+round, interrex.HoldOptions{Holder: round})
	fail(err)
	id := interrex.ResourceID{Type: interrex.ResourceType{Group: "feed", GroupVersion: "v1", Kind: "Thing"}, Name: round}
	present := id
	present.Name += "/present"
	_, err = a.Resources().Write(ctx, interrex.WriteResourceRequest{Resource: interrex.Resource{ID: id, Metadata: map[string]string{"a": "b"}}})
	fail(err)
	_, err = a.Resources().Write(ctx, interrex.WriteResourceRequest{Resource: interrex.Resource{
		ID: present, OwnerLease: interrex.Fence{Key: held.Key(), Token: held.Token()},
	}})
	fail(err)
	_, err = a.Changes().Append(ctx, interrex.AppendRequest{Data: json.RawMessage(`{"round":"` + round + `"}`), Tags: []string{round}})
	fail(err)
	fail(held.Release(ctx)) // what it owned is deleted with it
	_, err = a.Resources().Delete(ctx, interrex.DeleteResourceRequest{ID: id})
	fail(err)
	last, err := a.Changes().Append(ctx, interrex.AppendRequest{Data: json.RawMessage(`null`)})
	fail(err)
	return last.Revision
}

func TestFeedsOfAllAgentsAreEqual(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(_ int, c *agent.Config) {
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 8, time.Second
	}})
	var last interrex.Revision
	for i := range 3 {
		last = changeAll(t, c.Agent(i), fmt.Sprint("first", i))
	}
	equal := func(when string) {
		t.Helper()
		want := feedOf(t, c.Agent(0), last)
		for i := 1; i < 3; i++ {
			if got := feedOf(t, c.Agent(i), last); got != want {
				t.Errorf("%s: agent %d has\n%s\nand agent 0\n%s", when, i, got, want)
			}
		}
	}
	equal("at first")
	// One agent is away meanwhile, and returns; a watch resumes.
	away := (c.Leader() + 1) % 3
	c.Kill(away)
	for i := range 3 {
		last = changeAll(t, c.Agent((away+1)%3), fmt.Sprint("away", i))
	}
	c.Start(away)
	equal("after one was away")
	w, err := c.Agent(away).Changes().Watch(t.Context(), interrex.WatchChangesRequest{Since: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for seen := interrex.Revision(0); seen < last; {
		e, err := w.Next(ctx)
		if err != nil || e.Revision < seen {
			t.Fatalf("%+v after %d: %v", e, seen, err)
		}
		seen = e.Revision
	}
}
