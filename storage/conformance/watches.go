package conformance

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/storage"
)

func watch(t *testing.T, s storage.Store, tenancy interrex.Tenancy, prefix string) storage.Watch {
	t.Helper()
	w, err := s.WatchList(t.Context(), storage.UnversionedTypeFrom(typeAv1), tenancy, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func next(t *testing.T, w storage.Watch) interrex.ResourceEvent {
	t.Helper()
	e, err := w.Next(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func wantUpsert(t *testing.T, w storage.Watch, want interrex.Resource) {
	t.Helper()
	if e := next(t, w); e.Operation != interrex.ResourceUpsert || !reflect.DeepEqual(e.Resource, want) {
		t.Fatalf("%+v, want an upsert of %+v", e, want)
	}
}

func wantDelete(t *testing.T, w storage.Watch, want interrex.Resource) {
	t.Helper()
	if e := next(t, w); e.Operation != interrex.ResourceDelete || !reflect.DeepEqual(e.Resource, want) {
		t.Fatalf("%+v, want a delete of %+v", e, want)
	}
}

func testWatchSnapshot(t *testing.T, c Config) {
	s := c.New(t)
	all := sown(t, s)
	last := all[len(all)-1]
	eventually(t, func() error { return reads(t, s, storage.EventualConsistency, last.ID, last) })
	for name, sel := range selections {
		t.Run(name, func(t *testing.T) {
			w := watch(t, s, sel.tenancy, sel.prefix)
			var got []interrex.Resource
			for range sel.want {
				e := next(t, w)
				if e.Operation != interrex.ResourceUpsert {
					t.Fatalf("%+v", e)
				}
				got = append(got, e.Resource)
			}
			if err := same(got, nil, pick(all, sel.want)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func testWatchChanges(t *testing.T, c Config) {
	for name, sel := range selections {
		t.Run(name, func(t *testing.T) {
			s := c.New(t)
			w := watch(t, s, sel.tenancy, sel.prefix)
			all := sown(t, s)
			var got []interrex.Resource
			for range sel.want { // in order, unless the watch begins amid the writes
				e := next(t, w)
				if e.Operation != interrex.ResourceUpsert {
					t.Fatalf("%+v", e)
				}
				got = append(got, e.Resource)
				if err := reads(t, s, storage.EventualConsistency, e.Resource.ID, e.Resource); err != nil {
					t.Fatalf("after the event: %v", err)
				}
			}
			if err := same(got, nil, pick(all, sel.want)); err != nil {
				t.Fatal(err)
			}
			if len(sel.want) == 0 {
				return
			}
			gone := all[sel.want[rand.N(len(sel.want))]]
			if err := s.DeleteCAS(bounded(t), gone.ID, gone.Version); err != nil {
				t.Fatal(err)
			}
			wantDelete(t, w, gone)
			if _, err := s.Read(bounded(t), storage.EventualConsistency, gone.ID); !errors.Is(err, interrex.ErrNotFound) {
				t.Fatalf("after the delete's event: %v", err)
			}
		})
	}
}

func testWatchEnds(t *testing.T, c Config) {
	s := c.New(t)
	t.Run("by its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := watch(t, s, tenancyDefault, "").Next(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, interrex.ErrWatchClosed) {
			t.Errorf("%v", err)
		}
	})
	t.Run("by Close", func(t *testing.T) {
		w := watch(t, s, tenancyDefault, "")
		w.Close()
		w.Close()
		if _, err := w.Next(bounded(t)); err == nil || errors.Is(err, interrex.ErrWatchClosed) {
			t.Errorf("%v", err)
		}
	})
	if c.Restart == nil {
		return
	}
	t.Run("by a restore", func(t *testing.T) {
		s := c.New(t)
		stored := write(t, s, make(typeAv1, tenancyDefault, "web"))
		w := watch(t, s, tenancyDefault, "")
		wantUpsert(t, w, stored)
		c.Restart(t, s)
		if _, err := w.Next(bounded(t)); !errors.Is(err, interrex.ErrWatchClosed) {
			t.Errorf("%v", err)
		}
		wantUpsert(t, watch(t, s, tenancyDefault, ""), stored)
	})
}

// testConcurrent has writers and watchers at once.
func testConcurrent(t *testing.T, c Config) {
	t.Run("one write wins each version", func(t *testing.T) {
		const writers, writes = 8, 10
		s := c.New(t)
		stored := write(t, s, make(typeAv1, tenancyDefault, "web"))
		var mu sync.Mutex
		won := map[string]string{} // the next version, by the version that it replaced
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for done := 0; done < writes; {
					now, err := s.Read(bounded(t), storage.StrongConsistency, stored.ID)
					if err != nil {
						t.Error(err)
						return
					}
					before := now.Version
					now, err = s.WriteCAS(bounded(t), now)
					if errors.Is(err, interrex.ErrCASFailure) {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if other, twice := won[before]; twice {
						t.Errorf("version %s was replaced by %s and by %s", before, other, now.Version)
					}
					won[before] = now.Version
					mu.Unlock()
					done++
				}
			})
		}
		all.Wait()
		links := 0
		for version := stored.Version; won[version] != ""; version = won[version] {
			links++
		}
		if links != writers*writes {
			t.Errorf("the chain of versions has %d links, want %d", links, writers*writes)
		}
	})
	t.Run("watches agree with lists", func(t *testing.T) {
		const keys, writes, watches = 20, 300, 5
		s := c.New(t)
		var all sync.WaitGroup
		all.Go(func() {
			stored := map[int]interrex.Resource{}
			for n := range writes {
				k := rand.N(keys)
				if old, is := stored[k]; is && n%3 == 0 {
					if err := s.DeleteCAS(bounded(t), old.ID, old.Version); err != nil {
						t.Error(err)
					}
					delete(stored, k)
					continue
				}
				res, is := stored[k]
				if !is {
					res = make(typeAv1, tenancyDefault, strconv.Itoa(k))
				}
				written, err := s.WriteCAS(bounded(t), res)
				if err != nil {
					t.Error(err)
					return
				}
				stored[k] = written
			}
			end := make(typeAv1, tenancyDefault, "end")
			if _, err := s.WriteCAS(bounded(t), end); err != nil {
				t.Error(err)
			}
		})
		seen := [watches]map[string]interrex.Resource{}
		for i := range watches {
			all.Go(func() { seen[i] = follow(t, s) })
		}
		all.Wait()
		list, err := s.List(bounded(t), storage.StrongConsistency, storage.UnversionedTypeFrom(typeAv1), tenancyDefault, "")
		for _, state := range seen {
			var have []interrex.Resource
			for _, res := range state {
				have = append(have, res)
			}
			if err := same(have, err, list); err != nil {
				t.Error(err)
			}
		}
	})
}

// follow builds the state out of a watch's events, until the resource "end" is
// there. The versions of what is written must rise.
func follow(t *testing.T, s storage.Store) map[string]interrex.Resource {
	w, err := s.WatchList(t.Context(), storage.UnversionedTypeFrom(typeAv1), tenancyDefault, "")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer w.Close()
	state, versions := map[string]interrex.Resource{}, map[string][]string{}
	for {
		e, err := w.Next(bounded(t))
		if err != nil {
			t.Error(err)
			return nil
		}
		name := e.Resource.ID.Name
		if e.Operation == interrex.ResourceDelete {
			if old := state[name]; old.Version != e.Resource.Version {
				t.Errorf("deleted version %s of %s, and %s was stored", e.Resource.Version, name, old.Version)
			}
			delete(state, name)
			continue
		}
		if slices.Contains(versions[name], e.Resource.Version) {
			t.Errorf("version %s of %s came twice", e.Resource.Version, name)
		}
		versions[name] = append(versions[name], e.Resource.Version)
		state[name] = e.Resource
		if name == "end" {
			return state
		}
	}
}
