package machine_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// seconds is what a second of the wall clock is worth in a recovery.
const seconds = 1 << 20

func recovery() *machine.Recover {
	return &machine.Recover{ClusterID: cluster, Bits: 0xbeef, Survivor: "two", Incarnation: "i2"}
}

func systemOperation(c state.Command) state.Operation {
	return state.Operation{Table: machine.SystemTable, Data: c.Append(nil)}
}

func withLeases() []state.Table {
	return []state.Table{lease.New(), testtable.NewRegister()}
}

func claim(name string, ttl time.Duration) state.Operation {
	c := &lease.Claim{Key: interrex.Key{Namespace: "default", Name: name}, Holder: "ann", TTL: ttl}
	return state.Operation{Table: machine.LeaseTable, Data: c.Append(nil)}
}

func TestARecoveryDrawsAnEpochAndRaisesTheRevision(t *testing.T) {
	r := testreplica.New(t, withLeases)
	r.Do(1, setIdentity(identity(cluster)), claim("a", time.Minute), set("a", "1"))
	results := r.Do(2, systemOperation(recovery()))
	wantKinds(t, results, "")
	to := interrex.Revision(testreplica.Wall(2).Unix()) * seconds
	if want := (machine.Loss{From: 3, To: to, At: 2}); r.State.Loss() != want {
		t.Errorf("lost is %+v, want %+v", r.State.Loss(), want)
	}
	want := machine.Identity{ClusterID: cluster, Epoch: interrex.Epoch{Number: 2, Bits: 0xbeef}, Incarnations: map[string]string{"two": "i2"}}
	for range 2 {
		if got := r.State.Identity(); !reflect.DeepEqual(got, want) {
			t.Errorf("identity %+v, want %+v", got, want)
		}
		if got := r.State.Revision(); got != to+1 || got >= 1<<53 { // one lease has ended
			t.Errorf("revision %d, want %d", got, to+1)
		}
		r.Restart()
	}
	// Done again it changes nothing.
	if wantKinds(t, r.Do(3, systemOperation(recovery())), ""); r.State.Revision() != to+1 || r.State.Identity().Epoch.Number != 2 {
		t.Errorf("done again: revision %d, epoch %d", r.State.Revision(), r.State.Identity().Epoch.Number)
	}
	// The clock has not moved: the revision grows all the same.
	second := recovery()
	second.Bits++
	if wantKinds(t, r.Do(3, systemOperation(second)), ""); r.State.Revision() != to+1+1<<40 {
		t.Errorf("revision %d, want %d", r.State.Revision(), to+1+1<<40)
	}
}

func TestAWallClockThatIsFarOffUsesNoRevisionsUp(t *testing.T) {
	for _, wall := range []time.Time{{}, time.Unix(-5, 0), time.Unix(1<<33, 0), time.Unix(5, 0)} {
		r := testreplica.New(t, register)
		r.Apply(&machine.Entry{Stamp: 1, Wall: wall, Operations: []state.Operation{systemOperation(recovery())}})
		if got := r.State.Revision(); got != 1<<40 {
			t.Errorf("%v: revision %d", wall, got)
		}
	}
}

func TestARevisionIsRaisedWhileThereAreSome(t *testing.T) {
	r := testreplica.New(t, register)
	for n := range uint64(9000) {
		c := recovery()
		c.Bits = n + 1
		if r.Do(1, systemOperation(c))[0].Err != nil {
			if n < 1000 {
				t.Errorf("only %d recoveries", n)
			}
			wantKinds(t, r.Do(1, systemOperation(c)), interrex.ErrConflict)
			break
		}
		if r.State.Revision() >= 1<<53 {
			t.Fatalf("revision %d", r.State.Revision())
		}
	}
}

func TestARecoveryOfALogThatHasLostItsIdentity(t *testing.T) {
	r := testreplica.New(t, register)
	c := recovery()
	c.Epoch = 7
	r.Do(1, systemOperation(c))
	if got := r.State.Identity(); got.ClusterID != cluster || got.Epoch.Number != 8 {
		t.Errorf("identity %+v", got)
	}
}

func TestARecoveryOfSomethingElseIsRefused(t *testing.T) {
	for why, change := range map[string]func(*machine.Recover){
		"another cluster":  func(c *machine.Recover) { c.ClusterID = elsewhere },
		"another disk":     func(c *machine.Recover) { c.Incarnation = "i9" },
		"no cluster":       func(c *machine.Recover) { c.ClusterID = "" },
		"no random bits":   func(c *machine.Recover) { c.Bits = 0 },
		"nobody survives":  func(c *machine.Recover) { c.Survivor = "" },
		"no incarnation":   func(c *machine.Recover) { c.Incarnation = "" },
		"a short identity": func(c *machine.Recover) { c.ClusterID = "ab" },
	} {
		r := testreplica.New(t, register)
		r.Do(1, setIdentity(identity(cluster)))
		c := recovery()
		change(c)
		if res := r.Do(1, systemOperation(c)); res[0].Err == nil || r.State.Revision() != 1 {
			t.Errorf("%s: %v, revision %d", why, res[0].Err, r.State.Revision())
		}
	}
}

// What may have been done before a recovery is not done again: every name ends with it.
func TestARequestOfBeforeARecoveryIsNotDoneAgain(t *testing.T) {
	r := testreplica.New(t, withLeases)
	r.Do(1, setIdentity(identity(cluster)))
	marked := naming(r, "n", "idle")
	r.Do(1, marked("n.7", 5))
	r.Do(2, systemOperation(recovery()))
	before := r.State.Revision()
	claimed := claim("a", time.Minute)
	claimed.Caller, claimed.RequestID, claimed.Mark = "ann", marked("n.1", 1).RequestID, 1
	for range 2 {
		for _, op := range []state.Operation{marked("n.7", 5), marked("n.9", 5), marked("idle.1", 1), claimed} {
			wantGone(t, r.Do(3, op)[0], r.State.Loss().To)
		}
		if kept, _ := r.State.Names(); kept != 0 || r.State.Revision() != before {
			t.Errorf("%d names, revision %d", kept, r.State.Revision())
		}
		r.Restart()
	}
	// A name that is opened afterwards is another one, also with the same bits.
	if fresh := naming(r, "n")("n.1", 1); fresh.RequestID == marked("n.1", 1).RequestID || r.Do(3, fresh)[0].Err != nil {
		t.Errorf("under a new name: %s", fresh.RequestID)
	}
}

func TestAnIdOfBeforeARecoveryIsNotUsedAgain(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, setIdentity(identity(cluster)), request("plain", "k"))
	known := r.State.Revision()
	r.Do(2, systemOperation(recovery()))
	again, says := request("plain", "k"), request("other", "k")
	again.Attempt, says.Since = 1, known // it was perhaps done in what is lost
	end := state.Time(2).Add(10 * time.Minute)
	for _, at := range []state.Time{3, end - 1} {
		res := r.Do(at, again, says)
		wantKinds(t, res, interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown)
		if e := res[0].Err.(*interrex.Error); e.Lost != r.State.Loss().To {
			t.Errorf("lost %d", e.Lost)
		}
		r.Restart()
	}
	// What is asked for the first time is done, and then found again.
	first := request("fresh", "k")
	wantKinds(t, r.Do(end-1, first), "")
	first.Attempt = 1
	if res := r.Do(end-1, first); res[0].Err != nil || !res[0].Replayed {
		t.Errorf("%+v", res[0])
	}
	// After its time a record would be gone anyway.
	wantKinds(t, r.Do(end, says, again), interrex.ErrOutcomeUnknown, "")
}

// A waiter retries again and again, with nothing in the log: that is no sign
// that it was granted before. If it was, that lease has ended.
func TestAClaimThatAsksAgainIsDoneAfterARecovery(t *testing.T) {
	r := testreplica.New(t, withLeases)
	op := claim("a", time.Minute)
	op.Caller, op.RequestID, op.Since = "ann", "w", 1
	r.Do(1, setIdentity(identity(cluster)), op)
	r.Do(2, systemOperation(recovery()))
	op.Attempt = 9
	wantKinds(t, r.Do(3, op), interrex.ErrUnavailable)
	res := r.Do(state.Time(2*time.Minute), op)
	if wantKinds(t, res, ""); res[0].Replayed || res[0].Revision <= r.State.Loss().To {
		t.Errorf("%+v", res[0])
	}
	group := state.Operation{Caller: "ann", RequestID: "g", Attempt: 1, Group: []state.Part{{Table: machine.LeaseTable, Data: claim("b", time.Minute).Data}}}
	wantKinds(t, r.Do(state.Time(2*time.Minute), group), interrex.ErrOutcomeUnknown)
}

// Tokens of one key grow over recoveries, whatever was lost, and nothing is
// granted in a pause.
func TestTokensGrowOverRecoveries(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			r := testreplica.New(t, withLeases)
			kept := r.Snapshot()
			now, paused, last := state.Time(0), state.Time(0), map[string]interrex.Revision{}
			for i := range 300 {
				now = now.Add(time.Duration(random.Int64N(int64(5 * time.Second))))
				switch k := fmt.Sprint("k", random.IntN(3)); random.IntN(40) {
				case 0:
					kept = r.Snapshot()
				case 1: // what came after that snapshot is lost
					r = testreplica.New(t, withLeases)
					if err := r.Restore(kept); err != nil {
						t.Fatal(err)
					}
					now = r.State.Now()
					c := recovery()
					c.Bits = uint64(i + 1)
					wantKinds(t, r.Apply(&machine.Entry{Stamp: now, Wall: testreplica.Wall(state.Time(i)), Operations: []state.Operation{systemOperation(c)}}), "")
					paused, kept = now.Add(30*time.Second), r.Snapshot()
				default:
					res := r.Do(now, claim(k, time.Duration(1+random.IntN(10))*time.Second))[0]
					if res.Err != nil {
						continue
					}
					if now < paused || res.Revision <= last[k] {
						t.Fatalf("%s is granted at %v, in a pause until %v, as %d after %d", k, now, paused, res.Revision, last[k])
					}
					last[k] = res.Revision
				}
			}
			if len(last) == 0 {
				t.Error("nothing was granted")
			}
		})
	}
}
