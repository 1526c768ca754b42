package featuretests

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// feed returns the whole feed of an agent, one line per change.
func feed(t *testing.T, a *agent.Agent, min interrex.Revision) (all []string) {
	t.Helper()
	for since := interrex.Revision(0); ; {
		p, err := a.Changes().List(t.Context(), interrex.ListChangesRequest{Since: since, MinRevision: min, Limit: 777})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Items {
			all = append(all, shown(c))
			since = c.Revision
		}
		if p.AtEnd {
			return all
		}
	}
}

func shown(c interrex.Change) string {
	return fmt.Sprintf("%d %s %s %v %d %s", c.Revision, c.Kind, c.Key, c.Tags, c.Time.UnixNano(), c.Data)
}

// appendChanges appends changes, and claims as many leases, through an agent.
func appendChanges(t *testing.T, a *agent.Agent, name string, n int) (last interrex.Revision) {
	t.Helper()
	for i := range n {
		_, err := a.Changes().Append(t.Context(), interrex.AppendRequest{Data: fmt.Appendf(nil, `{"n":%d}`, i), Tags: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		won, err := a.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("feed/", name, i)), TTL: time.Hour, Holder: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		last = won.Revision
	}
	return last
}

// fillSegment makes the agents start another file of the log: entries that a
// snapshot covers are readable until then.
func fillSegment(t *testing.T, a *agent.Agent) {
	t.Helper()
	large := fmt.Appendf(nil, "%q", strings.Repeat("x", 500_000))
	for range 40 { // of 16 MiB
		if _, err := a.Changes().Append(t.Context(), interrex.AppendRequest{Data: large}); err != nil {
			t.Fatal(err)
		}
	}
}

// followChanges reads a watch up to a revision.
func followChanges(ctx context.Context, t *testing.T, w interrex.Watch[interrex.Change], last interrex.Revision) (all []string) {
	t.Helper()
	for {
		c, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("after %d changes: %v", len(all), err)
		}
		all = append(all, shown(c))
		if c.Revision >= last {
			return all
		}
	}
}

// Every agent has the same feed, also one that was cut off and caught up by a
// snapshot, and one that was restarted. A watch continues across the snapshot, and
// watches of changes and of leases resume where they were before a restart.
func TestTheFeedIsTheSameOnEveryAgent(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(_ int, a *agent.Config) {
		a.Raft.SnapshotThreshold, a.Raft.SnapshotInterval, a.Raft.NonSyncedWritesToRaftLog = 1000, time.Second, true
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	leader := c.Leader()
	behind, other := (leader+1)%3, (leader+2)%3
	before := appendChanges(t, c.Agent(behind), "before", 40)
	w, err := c.Client(behind).Changes().Watch(ctx, interrex.WatchChangesRequest{}) // of no other agent
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	seen := followChanges(ctx, t, w, before)
	end := c.Agent(behind).Status().Log.LastIndex
	c.Isolate(behind)
	fillSegment(t, c.Agent(leader))
	appendChanges(t, c.Agent(leader), "meanwhile", 9000) // two entries each: more than stay behind a snapshot, and those until the next
	eventually(t, "only a snapshot has what comes next for the agent", func() error {
		if first := c.Agent(leader).Status().Log.FirstIndex; first <= end+1 {
			return fmt.Errorf("its log begins at %d", first)
		}
		return nil
	})
	c.Heal()
	if err := c.Agent(behind).Ready(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a snapshot, which its log goes on from, has caught it up", func() error {
		if first := c.Agent(behind).Status().Log.FirstIndex; first != 0 && first <= end+1 {
			return fmt.Errorf("its log begins at %d", first)
		}
		return nil
	})
	last := appendChanges(t, c.Agent(other), "after", 3)
	seen = append(seen, followChanges(ctx, t, w, last)...)
	want := feed(t, c.Agent(leader), last)
	if n := len(want); n < 2*6043 {
		t.Fatalf("only %d changes are in the feed", n)
	}
	same := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s has %d changes, want %d: %s", what, len(got), len(want), difference(got, want))
		}
	}
	same("the watch over all of it", seen, want)
	for i, a := range c.Agents() {
		same(a.ID(), feed(t, a, last), want)
		if i == other {
			c.Restart(i)
			same(a.ID()+", started again,", feed(t, a, last), want)
		}
	}
	claims := slices.DeleteFunc(slices.Clone(want), func(line string) bool {
		return !strings.Contains(line, " feed/") || strings.Contains(line, " feed/before")
	})
	again, err := c.Client(other).Changes().Watch(ctx, interrex.WatchChangesRequest{Since: before, ChangeFilter: interrex.ChangeFilter{Prefix: "feed/"}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	same("a watch since before the restart", followChanges(ctx, t, again, last), claims)
	leases, err := c.Client(other).Leases().Watch(ctx, interrex.WatchRequest{Since: before, Namespace: "feed"})
	if err != nil {
		t.Fatal(err)
	}
	defer leases.Close()
	for i, want := range claims {
		e, err := leases.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d claims: %v", i, len(claims), err)
		}
		if got := fmt.Sprintf("%d %s %s ", e.Revision, e.Kind, e.Lease.Key); !strings.HasPrefix(want, got) {
			t.Fatalf("claim %d of the watch of leases is %s, want %s", i, got, want)
		}
	}
}

// A long poll at a follower keeps waiting while the leader is killed, and gets what
// comes after.
func TestALongPollOutlivesTheLeader(t *testing.T) {
	f := newFleet(t, 3, nil)
	leader := f.leader()
	rest := f.others(leader)
	asked := f.client(rest[0]).Changes()
	first, err := asked.Append(t.Context(), interrex.AppendRequest{Data: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		page interrex.ChangePage
		err  error
	}
	polled := make(chan answer, 1)
	go func() {
		p, err := asked.List(t.Context(), interrex.ListChangesRequest{
			ChangeFilter: interrex.ChangeFilter{Tags: []string{"mine"}}, Since: first.Revision, MinRevision: first.Revision, Block: 2 * patience,
		})
		polled <- answer{p, err}
	}()
	f.kill(leader)
	for _, tag := range []string{"other", "mine"} {
		if _, err := f.client(rest[1]).Changes().Append(t.Context(), interrex.AppendRequest{Data: []byte("2"), Tags: []string{tag}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-polled; got.err != nil || len(got.page.Items) != 1 || got.page.Items[0].Tags[0] != "mine" {
		t.Errorf("%+v", got)
	}
}

// An agent that replays its log after a restart is behind what a poll has seen: it
// never reports that nothing has come since.
func TestAnAgentThatReadsItsLogAgainHidesNoChange(t *testing.T) {
	f := newFleet(t, 3, nil)
	leader := f.leader()
	killed := f.others(leader)[0]
	changes := f.client(leader).Changes()
	var appending sync.WaitGroup
	for range 32 {
		appending.Go(func() {
			for range 100 {
				if _, err := changes.Append(t.Context(), interrex.AppendRequest{Data: []byte("1")}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	appending.Wait()
	seen, err := changes.Append(t.Context(), interrex.AppendRequest{Data: []byte("2")})
	if err != nil {
		t.Fatal(err)
	}
	last, err := changes.Append(t.Context(), interrex.AppendRequest{Data: []byte("3")})
	if err != nil {
		t.Fatal(err)
	}
	f.kill(killed)
	f.start(killed)
	url := fmt.Sprintf("http://%s/changes?since=%d", f.members[killed].config.API.Listen, seen.Revision)
	eventually(t, "the agent shows what came last", func() error {
		answer, err := http.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", text)
		}
		if err == nil && !strings.Contains(string(text), fmt.Sprintf(`"_id":%d,`, last.Revision)) {
			t.Errorf("it says %s", text)
		}
		return err
	})
}
