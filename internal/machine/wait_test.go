package machine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

func TestWaitingEndsWhenTheRevisionIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testreplica.New(t, register)
		done := make(chan interrex.Revision, 3)
		for _, want := range []interrex.Revision{3, 1, 2} {
			go func() {
				if err := r.State.WaitRevision(t.Context(), want); err != nil {
					t.Error(err)
				}
				done <- want
			}()
		}
		for want := range interrex.Revision(3) {
			synctest.Wait()
			select {
			case got := <-done:
				t.Fatalf("revision %d is waited for, and reached %d", got, r.State.Revision())
			default:
			}
			r.Do(1, set("a", ""))
			if got := <-done; got != want+1 {
				t.Fatalf("released %d at %d", got, want+1)
			}
		}
		if err := r.State.WaitRevision(t.Context(), 3); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitingForAnIndexCountsWhatOnlyRaftSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testreplica.New(t, register)
		for index, reach := range map[uint64]func(){
			1: func() { r.Do(1) },
			5: func() { r.State.Passed(5) },
			6: func() { r.State.StoreConfiguration(6, raft.Configuration{}) },
		} {
			done := make(chan error)
			go func() { done <- r.State.WaitApplied(t.Context(), index) }()
			synctest.Wait()
			reach()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.State.Passed(2) // late
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.State.WaitApplied(ctx, 6); err != nil {
			t.Errorf("what has passed is waited for again: %v", err)
		}
		wantKinds(t, r.Do(2, set("a", "")), "")
		if index, _ := r.State.Applied(); index != 2 {
			t.Errorf("what passed counts as applied: %d", index)
		}
	})
}

func TestWaitingIsBounded(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		r := testreplica.New(t, register)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := r.State.WaitRevision(ctx, 9)
		if interrex.KindOf(err) != interrex.ErrTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the deadline: %v", err)
		}
		errs := make(chan error, machine.MaxWaiters)
		for range machine.MaxWaiters {
			go func() { errs <- r.State.WaitApplied(t.Context(), 9) }()
		}
		synctest.Wait()
		if err := r.State.WaitApplied(t.Context(), 9); interrex.KindOf(err) != interrex.ErrOverloaded {
			t.Errorf("one more: %v", err)
		}
		r.State.Close()
		for range machine.MaxWaiters {
			if err := <-errs; interrex.KindOf(err) != interrex.ErrUnavailable {
				t.Fatalf("at the close: %v", err)
			}
		}
		if err := r.State.WaitRevision(t.Context(), 9); interrex.KindOf(err) != interrex.ErrUnavailable {
			t.Errorf("after the close: %v", err)
		}
	})
}

func TestWhatIsReachedWhileJoiningIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		looks := uint64(0)
		err := machine.WaitFor(ctx, 2, func() uint64 { looks++; return looks })
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAHaltReleasesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testreplica.New(t, register)
		done := make(chan error)
		go func() { done <- r.State.WaitRevision(t.Context(), 9) }()
		synctest.Wait()
		r.ApplyBytes([]byte{9})
		if err := <-done; interrex.KindOf(err) != interrex.ErrUnavailable {
			t.Errorf("at the halt: %v", err)
		}
		if err := r.State.WaitApplied(t.Context(), 9); interrex.KindOf(err) != interrex.ErrUnavailable {
			t.Errorf("after the halt: %v", err)
		}
	})
}

func TestTheEstimateRunsOnBetweenEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testreplica.New(t, register)
		time.Sleep(time.Second) // the entry is younger than the state
		r.Do(100)
		applied := time.Now()
		time.Sleep(3 * time.Second)
		now, wall := r.State.Estimate()
		if now != state.Time(100).Add(3*time.Second) || !wall.Equal(time.Now()) || r.State.Now() != 100 {
			t.Errorf("estimate %d at %v, now %d", now, wall, r.State.Now())
		}
		if stamp, since := r.State.NewestStamp(); stamp != 100 || !since.Equal(applied) {
			t.Errorf("newest stamp %d at %v", stamp, since)
		}
	})
}
