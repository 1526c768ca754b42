package featuretests

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

var servers = interrex.ResourceType{Group: "demo", GroupVersion: "v1", Kind: "Server"}

func server(name string) interrex.ResourceID { return interrex.ResourceID{Type: servers, Name: name} }

// put writes a resource with a document through an agent.
func put(t *testing.T, a *agent.Agent, r interrex.Resource, port int) interrex.Resource {
	t.Helper()
	var err error
	if r.Data, err = client.NewDocument(map[string]any{"port": port}); err != nil {
		t.Fatal(err)
	}
	answer, err := a.Resources().Write(t.Context(), interrex.WriteResourceRequest{Resource: r})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Value
}

// listedServers returns the names and versions that an agent lists.
func listedServers(t *testing.T, a *agent.Agent, c interrex.Consistency) (all string) {
	t.Helper()
	p, err := a.Resources().List(t.Context(), interrex.ListResourcesRequest{
		ResourceSelection: interrex.ResourceSelection{Type: servers}, ReadOptions: interrex.ReadOptions{Consistency: c},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Items {
		all += r.ID.Name + "@" + r.Version + " "
	}
	return all
}

// Resources are written through any agent, survive the death of each, and are the
// same on all; a watch continues, and what is tied to a lease is deleted with it.
func TestResourcesOutliveTheirAgents(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := c.Client(0, 1, 2).Resources().Watch(ctx, interrex.WatchResourcesRequest{ResourceSelection: interrex.ResourceSelection{Type: servers}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next := func() interrex.ResourceEvent {
		t.Helper()
		e, err := w.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := next(); e.Operation != interrex.EndOfSnapshot {
		t.Fatalf("the watch begins with %+v", e)
	}
	lease, err := c.Agent(0).Leases().Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Namespace: "demo", Name: "me"}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	owner := interrex.Fence{Key: lease.Lease.Key, Token: lease.Lease.Token}
	var written []interrex.Resource
	for i := range 3 {
		r := interrex.Resource{ID: server(fmt.Sprint("r", i))}
		if i == 1 {
			r.OwnerLease = owner
		}
		r = put(t, c.Agent(i), r, i)
		written = append(written, put(t, c.Agent((i+1)%3), r, 80+i))
		for _, want := range []string{r.Version, written[i].Version} {
			if e := next(); e.Operation != interrex.ResourceUpsert || e.Resource.Version != want || e.Revision.String() != want {
				t.Fatalf("event %+v, want version %s", e, want)
			}
		}
		c.Kill(i)
		c.Start(i)
		if err := c.Agent(i).Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	want := listedServers(t, c.Agent(0), interrex.Strong)
	for i, r := range written {
		got, _, err := c.Agent((i+2)%3).Resources().Read(ctx, r.ID, interrex.ReadOptions{})
		fields, is := client.Document(got.Data)
		if err != nil || got.Version != r.Version || got.Generation != r.Generation || !is || fields["port"] != float64(80+i) {
			t.Errorf("agent %d reads %+v, %v, want %+v", (i+2)%3, got, err, r)
		}
		if got := listedServers(t, c.Agent(i), interrex.Strong); got != want {
			t.Errorf("agent %d lists %s, want %s", i, got, want)
		}
	}
	if _, err := c.Agent(2).Leases().Revoke(ctx, interrex.RevokeRequest{Key: owner.Key, Token: owner.Token}); err != nil {
		t.Fatal(err)
	}
	if e := next(); e.Operation != interrex.ResourceDelete || e.Resource.Version != written[1].Version || e.Resource.OwnerLease != owner {
		t.Errorf("the lease ended, and the event is %+v", e)
	}
}

func TestResourcesAreSwitchedOffByConfiguration(t *testing.T) {
	a := interrextest.Start(t, agent.Config{Features: config.Features{Resources: config.Off}})
	_, err := a.Resources().Write(t.Context(), interrex.WriteResourceRequest{Resource: interrex.Resource{ID: server("web")}})
	if interrex.KindOf(err) != interrex.ErrDisabled {
		t.Errorf("a write: %v", err)
	}
	w, err := a.Resources().Watch(t.Context(), interrex.WatchResourcesRequest{ResourceSelection: interrex.ResourceSelection{Type: servers}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Next(t.Context()); interrex.KindOf(err) != interrex.ErrDisabled {
		t.Errorf("a watch: %v", err)
	}
}
