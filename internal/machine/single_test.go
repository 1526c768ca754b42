package machine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// once is a write of a caller at an address, under an id without a name.
func once(origin, id string, since interrex.Revision, attempt uint32) state.Operation {
	op := set("k", "text")
	op.Origin, op.RequestID, op.Since, op.Attempt = origin, id, since, attempt
	return op
}

func TestOtherIdsAreOfACallerAndAHolder(t *testing.T) {
	r := testreplica.New(t, leased)
	claim := func(caller, origin, holder, key string) state.Operation {
		op := onLease(&lease.Claim{Key: interrex.Key{Namespace: "default", Name: key}, Holder: holder, TTL: time.Minute})
		op.Caller, op.Origin, op.RequestID = caller, origin, "job"
		return op
	}
	results := r.Do(1, claim("", "1.1.1.1", "a", "x"), claim("", "1.1.1.1", "b", "y"), claim("ann", "", "a", "z"), claim("", "2.2.2.2", "a", "x"))
	wantKinds(t, results, "", "", "", "")
	for i, want := range []bool{false, false, false, true} { // an address finds nothing
		if results[i].Replayed != want {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
}

func TestTheBiggestUserLosesTheOldestOfItsOtherIds(t *testing.T) {
	for _, limit := range [][]string{{"records", "8"}, {"record-bytes", "65536"}} {
		r := testreplica.New(t, register)
		r.Do(0, narrow(limit...))
		r.Do(1, once("1.1.1.1", "good", 0, 0))
		for i := range 1000 {
			r.Do(2, once("6.6.6.6", fmt.Sprint("evil", i), 0, 0))
		}
		results := r.Do(3, once("1.1.1.1", "good", 0, 1), once("6.6.6.6", "evil999", 0, 1), once("6.6.6.6", "evil0", 0, 0))
		wantKinds(t, results, "", "", "")
		for i, want := range []bool{true, true, false} {
			if results[i].Replayed != want {
				t.Errorf("%v: result %d: %+v", limit, i, results[i])
			}
		}
	}
}

// A record that is not there may have been dropped.
func TestWhatMayHaveBeenDroppedIsNotDoneAgain(t *testing.T) {
	ten := state.Time(10 * time.Minute)
	r := testreplica.New(t, register)
	r.Do(0, narrow("records", "1"))
	known := r.State.Revision()
	r.Do(1, once("1.1.1.1", "id", known, 0))
	wantKinds(t, r.Do(2, once("1.1.1.1", "other", known, 0)), "") // the first one is dropped
	lost := r.State.Revision() - 1
	for range 2 {
		results := r.Do(3,
			once("1.1.1.1", "id", known, 1), once("1.1.1.1", "id", known, 0), // also a late first attempt
			once("1.1.1.1", "id", 0, 1), // without what was known
		)
		wantKinds(t, results, interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown)
		if e := results[0].Err.(*interrex.Error); e.Lost != lost || r.State.Revision() != lost+1 {
			t.Errorf("lost %d, want %d; revision %d", e.Lost, lost, r.State.Revision())
		}
		r.Restart()
	}
	// What began later was not dropped.
	wantKinds(t, r.Do(4, once("1.1.1.1", "new", r.State.Revision(), 1)), "")
	// Without what was known, only what was dropped early counts, and for as long as it
	// would have been kept.
	wantKinds(t, r.Do(ten+3, once("1.1.1.1", "id", 0, 1)), interrex.ErrOutcomeUnknown)
	wantKinds(t, r.Do(ten+4, once("1.1.1.1", "id", known, 1), once("1.1.1.1", "id", 0, 1)), interrex.ErrOutcomeUnknown, "")
}

func TestALoweredLimitOfOtherIdsIsReached(t *testing.T) {
	r := testreplica.New(t, register)
	for i := range 5 {
		r.Do(1, request(fmt.Sprint("id", i), "a"))
	}
	r.Do(2, narrow("records", "2"))
	results := r.Do(3, request("one more", "a"), request("id4", "a"), request("id3", "a"))
	for i, want := range []bool{false, true, false} {
		if results[i].Err != nil || results[i].Replayed != want {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
}
