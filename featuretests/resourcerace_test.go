package featuretests

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// Writers at every agent compare and set a few resources while leaders are killed:
// each version is replaced once, and no linearizable read is older than a write that
// was answered before it began.
func TestNoUpdateOfAResourceIsLostAndNoReadIsStale(t *testing.T) {
	const keys, writers = 3, 9
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id := func(k int) interrex.ResourceID {
		return interrex.ResourceID{Type: interrex.ResourceType{Group: "race", GroupVersion: "v1", Kind: "Thing"}, Name: fmt.Sprint(k)}
	}
	var answered [keys]atomic.Uint64 // the highest version that a writer was told
	for k := range keys {
		a, err := c.Client().Resources().Write(ctx, interrex.WriteResourceRequest{Resource: interrex.Resource{ID: id(k)}})
		if err != nil {
			t.Fatal(err)
		}
		answered[k].Store(uint64(a.Revision))
	}
	var mu sync.Mutex
	replaced := map[string]string{} // by key and version
	var over atomic.Bool
	var done atomic.Int64
	through := []interrex.Resources{c.Client(0).Resources(), c.Client(1).Resources(), c.Client(2).Resources()}
	one := func(i, k int) error {
		r := through[i%3]
		before := answered[k].Load()
		now, _, err := r.Read(ctx, id(k), interrex.ReadOptions{})
		if err != nil {
			return err
		}
		if v, _ := strconv.ParseUint(now.Version, 10, 64); v < before {
			t.Errorf("key %d: version %s is read, and %d was answered before", k, now.Version, before)
		}
		a, err := r.Write(ctx, interrex.WriteResourceRequest{Resource: now})
		if errors.Is(err, interrex.ErrCASFailure) {
			return nil
		}
		if err != nil {
			return err
		}
		mu.Lock()
		old := fmt.Sprint(k, "@", now.Version)
		if by, twice := replaced[old]; twice {
			t.Errorf("%s was replaced by %s and by %s", old, by, a.Value.Version)
		}
		replaced[old] = a.Value.Version
		mu.Unlock()
		for v := uint64(a.Revision); ; {
			was := answered[k].Load()
			if was >= v || answered[k].CompareAndSwap(was, v) {
				break
			}
		}
		done.Add(1)
		return nil
	}
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := 0; !over.Load() && ctx.Err() == nil; n++ {
				_ = one(i, (i+n)%keys) // what failed may have happened, and is read again
			}
		})
	}
	for range 3 {
		until := done.Load() + 100
		for done.Load() < until && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		killed := c.Leader()
		c.Kill(killed)
		until = done.Load() + 50
		for done.Load() < until && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		c.Start(killed)
	}
	over.Store(true)
	all.Wait()
	if ctx.Err() != nil {
		t.Errorf("only %d writes were done in time", done.Load())
	}
}
