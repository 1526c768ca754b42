package featuretests

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

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
			w.written[id.Name] = got.Value.Version
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
