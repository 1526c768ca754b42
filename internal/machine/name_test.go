package machine_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// opening opens a name for a caller at an address.
func opening(caller, origin string, bits uint64) state.Operation {
	return state.Operation{Table: machine.SystemTable, Caller: caller, Origin: origin, Data: (&machine.OpenName{Bits: bits}).Append(nil)}
}

// nameOf is the name that an opening has made or found.
func nameOf(t *testing.T, res state.Result) string {
	t.Helper()
	opened, is := res.Reply.(*machine.OpenedName)
	if !is {
		t.Fatalf("no name is opened: %+v", res)
	}
	return opened.Name
}

// under is a write of key under NAME.N.
func under(caller, name string, number, mark uint64, key string) state.Operation {
	op := set(key, "text")
	op.Caller, op.RequestID, op.Mark = caller, fmt.Sprint(name, ".", number), mark
	return op
}

// wantGone checks that an operation is told that its name is gone, and up to which
// revision records went with their names.
func wantGone(t *testing.T, res state.Result, lost interrex.Revision) {
	t.Helper()
	var e *interrex.Error
	if !errors.As(res.Err, &e) || e.Kind != interrex.ErrNameGone || e.Lost != lost {
		t.Errorf("answered %+v, want that its name is gone, and %d lost", res, lost)
	}
}

func narrow(values ...string) state.Operation {
	set := map[string]string{}
	for i := 0; i < len(values); i += 2 {
		set["requests."+values[i]] = values[i+1]
	}
	return setSettings(set)
}

func TestOnlyTheStateMakesNames(t *testing.T) {
	r := testreplica.New(t, register)
	for _, name := range []string{"made-up", "1-0000000000000001", "1-00000000000000a", "01-0000000000000001", "1-000000000000000A", "9007199254740992-0000000000000001", "-", "1-"} {
		wantGone(t, r.Do(1, under("ann", name, 1, 1, "k"))[0], 0)
	}
	if kept, _ := r.State.Names(); kept != 0 || r.State.Revision() != 0 {
		t.Errorf("%d names, revision %d", kept, r.State.Revision())
	}
	name := nameOf(t, r.Do(1, opening("ann", "", 7))[0])
	if name != "1-0000000000000007" {
		t.Errorf("its name is %s", name)
	}
	wantKinds(t, r.Do(1, under("ann", name, 1, 1, "k"), opening("ann", "", 0)), "", interrex.ErrInvalid)
	for _, op := range []state.Operation{
		under("bob", name, 2, 1, "k"), under("", name, 2, 1, "k"), // of another caller
		under("ann", "2-0000000000000007", 2, 1, "k"), under("ann", "1-0000000000000008", 2, 1, "k"),
	} {
		wantGone(t, r.Do(1, op)[0], 0)
	}
}

func TestAnOpeningThatIsRepeatedFindsItsName(t *testing.T) {
	r := testreplica.New(t, register)
	first := nameOf(t, r.Do(1, opening("ann", "", 7))[0])
	other := nameOf(t, r.Do(1, opening("bob", "", 7))[0])
	before := r.State.Revision()
	r.Restart()
	for range 2 {
		if got := nameOf(t, r.Do(2, opening("ann", "", 7))[0]); got != first || r.State.Revision() != before {
			t.Errorf("%s, and first %s; revision %d", got, first, r.State.Revision())
		}
	}
	if fresh := nameOf(t, r.Do(2, opening("ann", "", 8))[0]); other == first || fresh == first || fresh == other {
		t.Errorf("%s, %s and %s", first, other, fresh)
	}
	// Its mark and records are still there.
	wantKinds(t, r.Do(3, under("ann", first, 5, 5, "k"), opening("ann", "", 7), under("ann", first, 4, 1, "k")), "", "", interrex.ErrOutcomeUnknown)
}

func TestANameIsDroppedADayAfterItsLastWrite(t *testing.T) {
	day := state.Time(24 * time.Hour)
	r := testreplica.New(t, register)
	marked := naming(r, "idle", "busy")
	r.Do(0, marked("idle.1", 1), marked("busy.1", 1))
	lost := r.State.Revision() - 1
	r.Do(10, marked("busy.2", 2))
	r.Restart()
	if res := r.Do(day-1, marked("idle.1", 1)); !res[0].Replayed {
		t.Error("dropped too soon")
	}
	// A replay is no write.
	results := r.Do(day, marked("idle.1", 1), marked("busy.2", 2))
	wantGone(t, results[0], lost)
	if !results[1].Replayed {
		t.Errorf("at a day: %+v", results[1])
	}
	wantGone(t, r.Do(day+10, marked("busy.2", 2))[0], r.State.Revision())
}

func TestANewRequestIsAWriteAndARepeatedOneIsNot(t *testing.T) {
	day := state.Time(24 * time.Hour)
	for what, op := range map[string]func(marked func(string, uint64) state.Operation) state.Operation{
		"refused": func(m func(string, uint64) state.Operation) state.Operation {
			op := m("n.2", 1)
			op.Data = del("no").Data
			return op
		},
		"overloaded": func(m func(string, uint64) state.Operation) state.Operation { return m("n.5000", 1) },
		"repeated":   func(m func(string, uint64) state.Operation) state.Operation { return m("n.1", 1) },
		"below":      func(m func(string, uint64) state.Operation) state.Operation { return m("n.0", 1) },
	} {
		r := testreplica.New(t, register)
		marked := naming(r, "n")
		r.Do(0, marked("n.1", 1))
		r.Do(10, op(marked))
		res := r.Do(day, marked("n.1", 1))[0]
		if write := what == "refused" || what == "overloaded"; write != res.Replayed {
			t.Errorf("%s: %+v", what, res)
		}
	}
}

func TestANameThatIsGivenBackIsGone(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "n")
	r.Do(1, marked("n.5", 5), marked("n.7", 5))
	before := r.State.Revision()
	others := retire(marked("n.5", 5))
	others.Caller = "bob"
	r.Do(2, others)
	if !r.Do(2, marked("n.5", 5))[0].Replayed {
		t.Error("another caller gave it back")
	}
	mine := retire(marked("n.7", 7))
	wantKinds(t, r.Do(3, mine, mine), "", "")
	if r.State.Revision() != before {
		t.Error("giving back takes a revision")
	}
	// Of 5 its caller has the answer, of 7 it has none.
	wantGone(t, r.Do(4, marked("n.5", 5))[0], before)
	for _, name := range []string{"", "n", string(make([]byte, 1<<20))} {
		if err := (&machine.Retire{Name: name}).Validate(); interrex.KindOf(err) != interrex.ErrInvalid || len(err.Error()) > 500 {
			t.Errorf("a name of %d bytes may be given back: %v", len(name), err)
		}
	}
}

func TestWhatIsAnsweredIsNotLost(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "n")
	r.Do(1, marked("n.5", 5), marked("n.6", 6))
	wantKinds(t, r.Do(2, retire(marked("n.7", 7))), "")
	wantGone(t, r.Do(3, marked("n.9", 7))[0], 0)
}

func TestNamesStayInSnapshotsWhileOthersGo(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "a", "b", "c")
	r.Do(1, marked("a.1", 1), marked("b.1", 1), marked("c.1", 1))
	wantKinds(t, r.Do(2, retire(marked("a.1", 2)), retire(marked("c.1", 2))), "", "")
	r.Snapshot() // what is written from here on is not in it
	r.Do(3, marked("b.2", 1))
	r.Do(3, marked("b.3", 2))
	r.Restart()
	results := r.Do(4, marked("b.1", 1), marked("b.2", 1), marked("b.3", 1), marked("a.1", 1), marked("c.1", 1))
	wantKinds(t, results, interrex.ErrOutcomeUnknown, "", "", interrex.ErrNameGone, interrex.ErrNameGone)
	for i, want := range []bool{false, true, true, false, false} {
		if results[i].Replayed != want {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
}

// Of the user who has most the longest idle name goes, and nobody else's.
func TestTheBiggestUserMakesRoom(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, narrow("names", "5"))
	ann := nameOf(t, r.Do(1, opening("ann", "1.1.1.1", 1))[0]) // an address does not matter to a caller with a name
	var eve []string
	for i := range 4 {
		eve = append(eve, nameOf(t, r.Do(state.Time(2+i), opening("", "6.6.6.6", uint64(i+1)))[0]))
	}
	r.Do(9, under("", eve[0], 1, 1, "k")) // so the second is idle longest
	old := state.Time(2 * time.Minute)
	bob := nameOf(t, r.Do(old, opening("", "2.2.2.2", 77))[0])
	lost := interrex.Revision(0)
	for _, op := range []state.Operation{under("ann", ann, 1, 1, "k"), under("", bob, 1, 1, "k"), under("", eve[0], 2, 1, "k"), under("", eve[2], 1, 1, "k"), under("", eve[3], 1, 1, "k")} {
		res := r.Do(old, op)
		wantKinds(t, res, "")
		if op.RequestID == eve[0]+".2" {
			lost = res[0].Revision
		}
	}
	wantGone(t, r.Do(old, under("", eve[1], 1, 1, "k"))[0], 0)
	// The biggest is patient while all of its names are young, and nobody else has to be.
	res := r.Do(old+1, opening("", "6.6.6.6", 99), opening("cat", "", 1))
	wantKinds(t, res, interrex.ErrOverloaded, "")
	wantGone(t, r.Do(old+2, under("", eve[0], 1, 1, "k"))[0], lost)
	if kept, _ := r.State.Names(); kept != 5 {
		t.Errorf("%d names", kept)
	}
}

// Replicas drop the same names also when they were written to in one entry, and one of
// them was restored in between.
func TestOfNamesThatAreEquallyIdleTheOldestGoes(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		r := testreplica.New(t, register)
		r.Do(0, narrow("names", "3"))
		marked := naming(r, "a", "b", "c")
		r.Do(1, marked("c.1", 1), marked("b.1", 1), marked("a.1", 1)) // not in their order
		if restarted {
			r.Restart()
		}
		r.Do(state.Time(2*time.Minute), opening("ann", "", 9))
		wantKinds(t, r.Do(state.Time(2*time.Minute), marked("a.1", 1), marked("b.1", 1), marked("c.1", 1)), interrex.ErrNameGone, "", "")
	}
}

// A record may cost its user a name, and be gone with it at once.
func TestRecordsOfNamesAreLimitedInNumberAndBytes(t *testing.T) {
	for _, limit := range [][]string{{"name-records", "10"}, {"name-bytes", "65536"}} {
		r := testreplica.New(t, register)
		r.Do(0, narrow(limit...))
		good := nameOf(t, r.Do(1, opening("ann", "", 1))[0])
		wantKinds(t, r.Do(1, under("ann", good, 1, 1, "k")), "")
		evil := nameOf(t, r.Do(1, opening("eve", "", 1))[0])
		dropped := 0
		for i := uint64(1); i < 2000; i++ {
			op := under("eve", evil, i, 1, "k")
			op.Data = set("k", string(make([]byte, 900))).Data
			res := r.Do(2, op)[0]
			if interrex.KindOf(res.Err) == interrex.ErrNameGone {
				dropped++
				evil = nameOf(t, r.Do(2, opening("eve", "", i+1))[0])
			}
		}
		if dropped == 0 {
			t.Errorf("%v: nothing is dropped", limit)
		}
		if res := r.Do(3, under("ann", good, 1, 1, "k"))[0]; !res.Replayed {
			t.Errorf("%v: others lose what they have: %+v", limit, res)
		}
	}
}

func TestWhatWasDroppedForRoomIsLost(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(0, narrow("names", "1"))
	ann := nameOf(t, r.Do(1, opening("ann", "", 1))[0])
	r.Do(1, under("ann", ann, 1, 1, "k"))
	lost := r.State.Revision()
	later := state.Time(2 * time.Minute)
	nameOf(t, r.Do(later, opening("ann", "", 2))[0])
	for range 2 {
		res := r.Do(later, under("ann", ann, 1, 1, "k"))[0]
		wantGone(t, res, lost)
		op := under("ann", ann, 2, 1, "k")
		if res, found := r.State.Recorded(&op); !found {
			t.Error("a leader does not say so from memory")
		} else {
			wantGone(t, res, lost)
		}
		r.Restart()
	}
}

// Whatever is claimed, a record is small: a grant is made again from its lease.
func TestARecordedGrantIsMadeFromItsLease(t *testing.T) {
	k := interrex.Key{Namespace: "default", Name: "db"}
	r := testreplica.New(t, leased)
	name := nameOf(t, r.Do(1, opening("ann", "", 1))[0])
	claim := onLease(&lease.Claim{Key: k, Holder: "ann", TTL: time.Minute})
	claim.Caller, claim.RequestID, claim.Mark, claim.Attempt = "ann", name+".1", 1, 3
	token := r.Do(1, claim)[0].Revision
	again := claim
	again.Attempt = 8
	r.Restart()
	r.Do(2, onLease(&lease.Extend{Key: k, Token: interrex.Token(token), TTL: time.Hour}))
	res := r.Do(3, again)[0]
	reply, is := res.Reply.(*lease.Reply)
	if !is || !res.Replayed || res.Attempt != 3 || res.Revision != token || reply.Lease.Token != interrex.Token(token) || reply.Lease.Holder != "ann" || reply.Lease.Expiry < state.Time(time.Hour) {
		t.Errorf("repeated: %+v, %+v", res, reply)
	}
	transfer := onLease(&lease.Transfer{Key: k, Token: interrex.Token(token), To: "bob"})
	transfer.Caller, transfer.RequestID, transfer.Mark = "ann", name+".2", 1
	force := onLease(&lease.Revoke{Key: k, Force: true})
	force.Caller, force.RequestID, force.Mark = "ann", name+".3", 1
	until := r.Do(4, transfer, force)[1].Reply.(*lease.Reply).HolderUntil
	r.Do(5, onLease(&lease.Claim{Key: k, Holder: "eve", TTL: time.Minute}))
	results := r.Do(6, again, transfer, force)
	// A grant that is over is not repeated; what else was done stays done.
	wantKinds(t, results, interrex.ErrNotHeld, "", "")
	if moved := results[1].Reply.(*lease.Reply); !results[1].Replayed || !moved.Ended || moved.Lease.Holder != "" {
		t.Errorf("the transfer is repeated as %+v", moved)
	}
	if forced := results[2].Reply.(*lease.Reply); !results[2].Replayed || forced.HolderUntil != until || until == 0 {
		t.Errorf("the forced revoke is repeated as %+v, first until %d", forced, until)
	}
}

func TestAnyAgentKnowsWhatIsGone(t *testing.T) {
	k := interrex.Key{Namespace: "default", Name: "db"}
	r := testreplica.New(t, leased)
	name := nameOf(t, r.Do(1, opening("ann", "", 1))[0])
	token := interrex.Token(r.Do(1, onLease(&lease.Claim{Key: k, Holder: "ann", TTL: time.Minute}))[0].Revision)
	under := func(number, mark uint64, c state.Command) state.Operation {
		op := onLease(c)
		op.Caller, op.RequestID, op.Mark = "ann", fmt.Sprint(name, ".", number), mark
		return op
	}
	over := func(op state.Operation) interrex.Kind {
		c, err := r.State.Decode(op.Table, op.Data)
		if err != nil {
			t.Fatal(err)
		}
		before := r.Snapshot()
		res, over := r.State.Over(&op, c)
		if over != (res.Err != nil) || string(before) != string(r.Snapshot()) {
			t.Errorf("%v, %+v, or asking has changed something", over, res)
		}
		return interrex.KindOf(res.Err)
	}
	transfer := &lease.Transfer{Key: k, Token: token, To: "bob"}
	want := func(when string, op state.Operation, want interrex.Kind) {
		t.Helper()
		if got := over(op); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	want("held", onLease(&lease.Extend{Key: k, Token: token}), "")
	want("of the future", onLease(&lease.Extend{Key: k, Token: 1000}), "")
	want("of the past", onLease(&lease.Extend{Key: k, Token: 1}), interrex.ErrNotHeld)
	fenced := set("a", "")
	fenced.Fence = interrex.Fence{Key: k, Token: 1}
	want("fenced by the past", fenced, interrex.ErrNotHeld)
	unborn := under(1, 1, transfer)
	unborn.RequestID = "1000-0000000000000001.1"
	want("a name of the future", unborn, "")
	strange := under(1, 1, transfer)
	strange.Caller = "bob"
	want("the name of another", strange, interrex.ErrNameGone)

	wantKinds(t, r.Do(2, under(1, 1, transfer)), "")
	want("done already", under(1, 1, transfer), "") // its record says so
	want("never to be done", under(2, 1, transfer), interrex.ErrNotHeld)
	want("below the mark", under(1, 2, transfer), "")
	single := onLease(transfer)
	single.RequestID = "id"
	want("perhaps done", single, "")
	want("forced", onLease(&lease.Revoke{Key: k, Token: token, Force: true}), "")
	want("revoked", onLease(&lease.Revoke{Key: k, Token: token}), interrex.ErrNotHeld)
	r.Do(3, retire(under(1, 1, transfer)))
	want("given back", under(2, 1, transfer), interrex.ErrNameGone)
}

func TestAnOperatorDropsWhatAUserHas(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, opening("", "6.6.6.6", 1), opening("", "6.6.6.6", 2), opening("ann", "", 3))
	single := request("id", "a")
	single.Caller, single.Origin = "", "6.6.6.6"
	r.Do(2, single)
	page := r.State.RequestShares("", 10)
	if len(page.Items) != 2 || page.Items[0].User.Caller != "ann" || page.Items[0].Names != 1 || page.Items[1].User.Address != "6.6.6.6" || page.Items[1].Names != 2 || page.Items[1].Records != 1 || page.Next != "" {
		t.Errorf("%+v", page)
	}
	if first := r.State.RequestShares("", 1); len(first.Items) != 1 || first.Next == "" || len(r.State.RequestShares(first.Next, 5).Items) != 1 {
		t.Errorf("in pages: %+v", first)
	}
	drop := func(u machine.RequestUser) state.Operation {
		return systemOperation(&machine.DropRequests{User: u})
	}
	wantKinds(t, r.Do(3, drop(machine.RequestUser{Address: "6.6.6.6"}), drop(machine.RequestUser{Address: "6.6.6.6"}), drop(machine.RequestUser{Caller: "bob"})), "", interrex.ErrNotFound, interrex.ErrNotFound)
	if page := r.State.RequestShares("", 10); len(page.Items) != 1 || page.Items[0].User.Caller != "ann" {
		t.Errorf("left are %+v", page)
	}
	single.Attempt = 1
	wantKinds(t, r.Do(4, single), interrex.ErrOutcomeUnknown)
	if !(&machine.DropRequests{}).About().Privileged || (&machine.OpenName{}).About().Privileged {
		t.Error("everybody may drop, or only operators may open")
	}
}
