package consistency_test

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
)

// What is written while a request is under way is in no answer to it: a read that begins
// after that must not use it.
func TestReadsShareRequestsToTheLeaderThatBeginAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		var written, asked atomic.Uint64
		a.leader = func(context.Context) (uint64, error) {
			asked.Add(1)
			index := written.Load()
			time.Sleep(time.Second)
			return index, nil
		}
		var all sync.WaitGroup
		for range 1000 {
			before := written.Add(1)
			all.Go(func() {
				if index, err := a.Index(t.Context(), admission.Caller{}); err != nil || index < before {
					t.Errorf("a read after %d were written gets %d, %v", before, index, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if n := asked.Load(); n > 8 {
			t.Errorf("1000 reads at once make %d requests", n)
		}
	})
}

func TestARequestToTheLeaderEndsWithItsLastReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		ended := 0
		a.leader = func(ctx context.Context) (uint64, error) {
			<-ctx.Done()
			ended++
			return 0, ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := a.Index(ctx, admission.Caller{}); err == nil {
					t.Error("a reader that has gone gets an answer")
				}
			})
			synctest.Wait()
		}
		cancel()
		all.Wait()
		if ended == 0 {
			t.Error("nothing was under way")
		}
		a.leader = at(7)
		if index, err := a.Index(t.Context(), admission.Caller{}); index != 7 || err != nil {
			t.Errorf("the next reader gets %d, %v", index, err)
		}
	})
}

func TestAReadThatEndsFirstSaysWhatItWaitedFor(t *testing.T) {
	for id, want := range map[string]interrex.Kind{"": interrex.ErrNoLeader, "b": interrex.ErrTimeout} {
		synctest.Test(t, func(t *testing.T) {
			a := newAgent(t)
			a.leads.LeaderID = id
			a.leader = func(ctx context.Context) (uint64, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := a.Index(ctx, admission.Caller{})
			is(t, "a read while "+cmp.Or(id, "nobody")+" leads", err, want)
		})
	}
}
