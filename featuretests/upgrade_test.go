package featuretests

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// Three agents are replaced one by one by a later build, under load, then two of them back
// and forth, and one too far back.
func TestAClusterIsUpgradedAndGoesBackUnderLoad(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) {
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 1<<20, time.Second
	})
	w := startWork(t, f)
	order := f.followersFirst()
	for _, i := range order[:2] { // up, but for the last
		f.runs(i, laterBinary)
		f.refusesTheLaterCommand(order[2])
	}
	for _, i := range order[:2] { // and back
		f.runs(i, binary)
	}
	for _, i := range order {
		f.runs(i, laterBinary)
	}
	pinned := f.acceptsTheLaterCommand()
	w.goesOn()
	f.cannotGoBackFromEntries(order[0])
	w.goesOn()
	f.cannotGoBackFromASnapshot(order[1])
	w.check()
	if l, _, err := f.client().Leases().Get(t.Context(), pinned.Key, interrex.ReadOptions{}); err != nil || len(l.Pins) != 1 {
		t.Errorf("what the later command did is %+v (%v)", l, err)
	}
}

// followersFirst returns the members in the order in which they are upgraded.
func (f *fleet) followersFirst() []int {
	f.t.Helper()
	leader := f.leader()
	return append(f.others(leader), leader)
}

// stops stops member i as a service manager does.
func (f *fleet) stops(i int) {
	f.t.Helper()
	f.signal(i, syscall.SIGTERM)
	if code := f.exit(i); code != 0 {
		f.t.Fatalf("%s ends with exit code %d", f.id(i), code)
	}
}

// runs replaces the build of member i, and waits until it is ready.
func (f *fleet) runs(i int, build func() (string, error)) {
	f.t.Helper()
	f.stops(i)
	f.members[i].binary = build
	f.start(i)
	f.answers(i)
}

func (f *fleet) pin(holder string) (interrex.Lease, error) {
	f.t.Helper()
	leases, ctx := f.client().Leases(), f.t.Context()
	won, err := leases.Claim(ctx, interrex.ClaimRequest{Key: key("later/" + holder), Holder: holder, TTL: time.Hour})
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = leases.Pin(ctx, interrex.PinRequest{Key: won.Lease.Key, Owner: "ops"})
	return won.Lease, err
}

// refusesTheLaterCommand makes a leader of the later build, which does not propose a
// command that the member behind does not know.
func (f *fleet) refusesTheLaterCommand(behind int) {
	f.t.Helper()
	for i, m := range f.members {
		if m.binary != nil && f.leader() != i {
			f.leads(i)
		}
	}
	_, err := f.pin(fmt.Sprint("early", time.Now().UnixNano()))
	if !errors.Is(err, interrex.ErrConflict) || !strings.Contains(err.Error(), "cannot apply this yet") || !strings.Contains(err.Error(), "bring that agent up to date, or remove it") {
		f.t.Errorf("the later command returns %v while %s is behind", err, f.id(behind))
	}
}

// leads makes member i the leader.
func (f *fleet) leads(i int) {
	f.t.Helper()
	eventually(f.t, f.id(i)+" leads", func() error {
		if _, err := f.command("member", "transfer-leader", f.id(i), "--addr", f.socket(i)); err != nil && f.leader() != i {
			return err
		}
		if f.leader() != i {
			return errors.New("it does not")
		}
		return nil
	})
}

// acceptsTheLaterCommand waits until the leader knows that all members know the later
// command, and returns what it was done to.
func (f *fleet) acceptsTheLaterCommand() (l interrex.Lease) {
	f.t.Helper()
	eventually(f.t, "the later command is accepted", func() (err error) {
		l, err = f.pin(fmt.Sprint("all", time.Now().UnixNano()))
		return err
	})
	return l
}

// cannotGoBackFromEntries starts the former build where the log has entries of the later
// one: it stops at them, in words, while the others go on.
func (f *fleet) cannotGoBackFromEntries(i int) {
	f.t.Helper()
	f.stops(i)
	f.foretells(i, "unknown version 5")
	f.members[i].binary = nil
	f.start(i)
	f.alarms(i, "halted")
	text, _ := f.says(i, "status")
	for _, want := range []string{"unknown version 5; this build knows 3 to 4", "run a build that can apply it"} {
		if !strings.Contains(text, want) {
			f.t.Errorf("the status has no %q: %s", want, text)
		}
	}
	f.leader(f.others(i)...)
	f.runs(i, laterBinary)
	f.alarms(i)
}

// cannotGoBackFromASnapshot starts the former build where the later one has made a
// snapshot: raft does not start, and the alarm says which build to run.
func (f *fleet) cannotGoBackFromASnapshot(i int) {
	f.t.Helper()
	f.stops(i)
	f.members[i].config.Raft.SnapshotThreshold = 1
	f.write(f.members[i])
	f.start(i)
	f.answers(i)
	eventually(f.t, f.id(i)+" has made a snapshot", func() error {
		found, err := filepath.Glob(filepath.Join(f.data(i), "raft", "snapshots", "*", "state.bin"))
		if err == nil && len(found) == 0 {
			err = errors.New("there is none")
		}
		return err
	})
	f.stops(i)
	f.foretells(i, `"leases" in version 3 there`)
	f.cannotReadACopyOf(f.others(i)[0])
	f.members[i].binary = nil
	f.start(i)
	f.alarms(i, "raft-down")
	text, _ := f.says(i, "status")
	if want := `table 1 is "leases" in version 3 there, and "leases" in version 2 here: run the interrex that wrote it`; !strings.Contains(text, want) {
		f.t.Errorf("the status has no %q: %s", want, text)
	}
	f.runs(i, laterBinary)
	f.alarms(i)
}

// cannotReadACopyOf saves a copy at member i, which runs the later build.
func (f *fleet) cannotReadACopyOf(i int) {
	f.t.Helper()
	f.save(i, "later.snap")
	out, err := f.command("snapshot", "inspect", filepath.Join(f.dir, "later.snap"))
	if err == nil || !strings.Contains(out, `"leases" in version 3 there, and "leases" in version 2 here`) {
		f.t.Errorf("the former build reads a copy of the later one: %v, %s", err, out)
	}
}

// foretells checks what the former build says of the directory of member i, which is
// stopped.
func (f *fleet) foretells(i int, want string) {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, args := range [][]string{{"--data-dir", f.data(i)}, {"--data-dir", f.data(i), "--apply"}} {
		out, err := exec.Command(path, append([]string{"agent", "repair"}, args...)...).CombinedOutput()
		applied := len(args) > 2
		if applied != (err != nil) || !strings.Contains(string(out), want) || !applied && !strings.Contains(string(out), "needs a later build") {
			f.t.Errorf("'agent repair' of the former build with %q: %v, want %q: %s", args, err, want, out)
		}
	}
}

// work is callers of a cluster who notice whether anything is lost: a load of leases, a
// hold, a writer of resources, and a reader of the feed.
type work struct {
	f    *fleet
	load *load
	held interrex.Held
	stop context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	written map[string]string // acknowledged values, by name
	feed    []interrex.Revision
	failed  []error
}

func startWork(t *testing.T, f *fleet) *work {
	t.Helper()
	w := &work{f: f, load: startLoad(t, f.client(), f.client()), written: map[string]string{}}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(t.Context())
	t.Cleanup(w.all.Wait)
	t.Cleanup(w.stop)
	var err error
	if w.held, err = f.client().Leases().Hold(ctx, "work/held", interrex.HoldOptions{TTL: 30 * time.Second, Holder: "worker"}); err != nil {
		t.Fatal(err)
	}
	changes, err := f.client().Changes().Watch(ctx, interrex.WatchChangesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	w.all.Go(func() { w.read(ctx, changes) })
	resources := f.client().Resources()
	w.all.Go(func() { w.write(ctx, resources) })
	return w
}

// read reads the feed.
func (w *work) read(ctx context.Context, changes interrex.Watch[interrex.Change]) {
	defer changes.Close()
	for {
		c, err := changes.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		if err != nil {
			w.failed = append(w.failed, fmt.Errorf("the feed: %w", err))
			w.mu.Unlock()
			return
		}
		w.feed = append(w.feed, c.Revision)
		w.mu.Unlock()
	}
}

// write writes resources, each once, behind the hold's fence.
func (w *work) write(ctx context.Context, resources interrex.Resources) {
	fence := interrex.Fence{Key: w.held.Key(), Token: w.held.Token()}
	for n := 0; ctx.Err() == nil; n++ {
		id := workID(n)
		got, err := resources.Write(ctx, interrex.WriteResourceRequest{Resource: interrex.Resource{ID: id}, Fence: fence})
		w.mu.Lock()
		switch {
		case err == nil:
			w.written[id.Name] = got.Resource.Version
		case errors.Is(err, interrex.ErrNotHeld):
			w.failed = append(w.failed, fmt.Errorf("a write behind the hold: %w", err))
		}
		w.mu.Unlock()
		pause(ctx, 5*time.Millisecond)
	}
}

func workID(n int) interrex.ResourceID {
	return interrex.ResourceID{Type: interrex.ResourceType{Group: "work", GroupVersion: "v1", Kind: "Thing"}, Name: fmt.Sprintf("%06d", n)}
}

func (w *work) writes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.written)
}

// goesOn waits until the work has gone on for a while.
func (w *work) goesOn() {
	w.f.t.Helper()
	enough(w.f.t, "writes", w.writes()+20, w.writes)
	if err := w.held.Check(); err != nil {
		w.f.t.Fatalf("the hold is lost: %v", err)
	}
}

// check ends the work, and checks that nothing was lost.
func (w *work) check() {
	t := w.f.t
	t.Helper()
	w.goesOn()
	w.load.check(t, 500)
	last, err := w.f.client().Changes().Append(t.Context(), interrex.AppendRequest{Data: []byte(`"the end"`)})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader of the feed has the last change", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.feed) == 0 || w.feed[len(w.feed)-1] < last.Revision {
			return errors.Join(append(w.failed, errors.New("it has not"))...)
		}
		return nil
	})
	w.stop()
	w.all.Wait()
	for _, err := range w.failed {
		t.Error(err)
	}
	t.Logf("%d resources were written, and %d changes read", len(w.written), len(w.feed))
	for i := range w.f.members {
		w.sameAt(w.f.client(i), last.Revision)
	}
}

// sameAt compares what callers saw with what one agent has.
func (w *work) sameAt(c *client.Client, last interrex.Revision) {
	t := w.f.t
	t.Helper()
	var feed []interrex.Revision
	for q := (interrex.ListChangesRequest{Limit: 1000, MinRevision: last}); ; q.Since = feed[len(feed)-1] {
		p, err := c.Changes().List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range p.Items {
			feed = append(feed, change.Revision)
		}
		if p.AtEnd || feed[len(feed)-1] >= last {
			break
		}
	}
	seen := slices.DeleteFunc(slices.Clone(w.feed), func(r interrex.Revision) bool { return r > last })
	if feed = slices.DeleteFunc(feed, func(r interrex.Revision) bool { return r > last }); !slices.Equal(feed, seen) {
		t.Errorf("the reader has %d changes, and the feed %d", len(seen), len(feed))
	}
	for name, version := range w.written {
		id := workID(0)
		id.Name = name
		got, _, err := c.Resources().Read(t.Context(), id, interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: last})
		if err != nil || got.Version != version {
			t.Fatalf("%s is of version %s (%v), and %s was acknowledged", name, got.Version, err, version)
		}
	}
}
