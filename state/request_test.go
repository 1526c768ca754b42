package state_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

// request is a write of key under a request id.
func request(id, key string) state.Operation {
	op := set(key, "text")
	op.Caller, op.RequestID = "ann", id
	return op
}

func marked(id string, mark uint64) state.Operation {
	op := request(id, "k")
	op.Mark = mark
	return op
}

func TestARepeatedAttemptGetsTheSameAnswer(t *testing.T) {
	for _, id := range []string{"plain", "name.7"} {
		r := statetest.NewReplica(t, register)
		first := request(id, "a")
		first.Attempt = 1
		again := first
		again.Attempt = 2
		results := r.Do(1, first, again)
		r.Restart()
		results = append(results, r.Do(2, again)...)
		for i, got := range results {
			if got.Err != nil || got.Revision != 1 || got.Attempt != 1 || got.Replayed != (i > 0) {
				t.Errorf("%s: answer %d: %+v", id, i, got)
			}
			if reply := got.Reply.(*testtable.RegisterReply); reply.Value.Text != "text" {
				t.Errorf("%s: reply %d: %+v", id, i, reply)
			}
		}
		if r.State.Revision() != 1 {
			t.Errorf("%s: it was done again", id)
		}
	}
}

func TestARecordIsOfOneCallerAndOneContent(t *testing.T) {
	r := statetest.NewReplica(t, register)
	other := request("id", "a")
	other.Caller = "bob"
	wantKinds(t, r.Do(1, request("id", "a"), other, request("id", "b")), "", "", interrex.ErrInvalid)
	if r.State.Revision() != 2 {
		t.Errorf("revision %d", r.State.Revision())
	}
	elsewhere := request("id", "a")
	elsewhere.Table = 301
	r = statetest.NewReplica(t, func() []state.Table {
		return []state.Table{testtable.NewRegister(), testtable.NewRegisterAs(301)}
	})
	wantKinds(t, r.Do(1, request("id", "a"), elsewhere), "", interrex.ErrInvalid)
}

func TestAnotherFenceIsAnotherContent(t *testing.T) {
	r := statetest.NewReplica(t, register)
	fenced := request("id", "a")
	fenced.Fence = interrex.Fence{Key: interrex.Key{Namespace: "default", Name: "db"}, Token: 3}
	wantKinds(t, r.Do(1, request("id", "a"), fenced), "", interrex.ErrInvalid)

	r = statetest.NewReplica(t, leased)
	r.Do(1, onLease(&lease.Claim{Key: fenced.Fence.Key, Holder: "ann", TTL: 1e9}))
	fenced.Fence.Token = 1
	otherToken, otherKey := fenced, fenced
	otherToken.Fence.Token, otherKey.Fence.Key.Name = 2, "queue"
	wantKinds(t, r.Do(1, fenced, otherToken, otherKey, fenced), "", interrex.ErrInvalid, interrex.ErrInvalid, "")
}

func TestARefusalIsNotKept(t *testing.T) {
	r := statetest.NewReplica(t, register)
	op := del("a")
	op.RequestID = "id"
	results := r.Do(1, op, set("a", ""), op)
	wantKinds(t, results, interrex.ErrNotFound, "", "")
	if results[2].Replayed || results[2].Revision != 2 {
		t.Errorf("it is answered %+v", results[2])
	}
}

func TestBelowTheMarkNothingIsDone(t *testing.T) {
	r := statetest.NewReplica(t, register)
	wantKinds(t, r.Do(1, marked("n.1", 1), marked("n.2", 1), marked("n.5", 2)), "", "", "")
	results := r.Do(2, marked("n.1", 1), marked("n.2", 1), marked("n.1", 2), marked("n.3", 4))
	wantKinds(t, results, interrex.ErrOutcomeUnknown, "", interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown)
	if !results[1].Replayed {
		t.Error("the record at the mark is gone")
	}
	// An operation's own mark counts, and also when it was refused.
	wantKinds(t, r.Do(3, marked("n.2", 1), marked("new.1", 2)), interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown)
	if r.State.Revision() != 3 {
		t.Errorf("revision %d", r.State.Revision())
	}
}

func TestANameHasAWindowAboveItsMark(t *testing.T) {
	r := statetest.NewReplica(t, register)
	results := r.Do(1, marked("n.1024", 1), marked("n.1025", 1), marked("n.1025", 2), marked("n.18446744073709551615", 2))
	wantKinds(t, results, "", interrex.ErrOverloaded, "", interrex.ErrOverloaded)
	for n := range 1024 {
		r.Do(2, marked(fmt.Sprint("full.", n+1), 1))
	}
	wantKinds(t, r.Do(3, marked("full.1", 1), marked("full.1025", 1), marked("full.1025", 2)), "", interrex.ErrOverloaded, "")
}

func TestWhatIsNoNumberIsARecordByItself(t *testing.T) {
	r := statetest.NewReplica(t, register)
	for _, id := range []string{"n.01", "n.+1", "n.-1", ".5", "n.", "n.99999999999999999999", "n", "n.5x", "n. 5"} {
		first, again := marked(id, 1), marked(id, 7) // a mark means nothing here
		results := r.Do(1, first, again)
		if results[0].Err != nil || !results[1].Replayed {
			t.Errorf("%q: %+v", id, results)
		}
	}
	wantKinds(t, r.Do(1, marked("a.b.3", 1), marked("a.b.4", 4), marked("a.b.3", 1), marked("a.00", 1)), "", "", interrex.ErrOutcomeUnknown, "")
	wantKinds(t, r.Do(1, marked("job.20261121", 0)), "")
	long := request(string(make([]byte, 65)), "a")
	wantKinds(t, r.Do(1, long), interrex.ErrInvalid)
}

func TestNamesAreLimitedAndNothingIsDroppedForRoom(t *testing.T) {
	r := statetest.NewReplica(t, register)
	for i := range 64 {
		ops := make([]state.Operation, 1024)
		for j := range ops {
			ops[j] = marked(fmt.Sprint("n", i*1024+j, ".1"), 1)
		}
		r.Do(1, ops...)
	}
	wantKinds(t, r.Do(2, marked("more.1", 1), marked("n0.1", 1), marked("n7.2", 1)), interrex.ErrOverloaded, "", "")
	retire := state.Operation{Table: state.SystemTable, Caller: "ann", Data: (&state.Retire{Name: "n5"}).Append(nil)}
	wantKinds(t, r.Do(3, retire, marked("more.1", 1), marked("another.1", 1)), "", "", interrex.ErrOverloaded)
}

func TestANameIsDroppedADayAfterItsLastWrite(t *testing.T) {
	day := state.Time(24 * time.Hour)
	r := statetest.NewReplica(t, register)
	r.Do(0, marked("idle.1", 1), marked("busy.1", 1))
	r.Do(10, marked("busy.2", 1))
	r.Restart()
	results := r.Do(day-1, marked("idle.1", 1))
	if !results[0].Replayed {
		t.Error("dropped too soon")
	}
	// A replay is no write.
	results = r.Do(day, marked("idle.1", 1), marked("busy.1", 1))
	if results[0].Replayed || !results[1].Replayed {
		t.Errorf("at a day: %+v", results)
	}
	if results = r.Do(day+10, marked("busy.1", 1)); results[0].Replayed {
		t.Error("busy is kept")
	}
}

func TestNamesStayInSnapshotsWhileOthersGo(t *testing.T) {
	r := statetest.NewReplica(t, register)
	retire := func(name string) state.Operation {
		return state.Operation{Table: state.SystemTable, Caller: "ann", Data: (&state.Retire{Name: name}).Append(nil)}
	}
	r.Do(1, marked("a.1", 1), marked("b.1", 1), marked("c.1", 1))
	wantKinds(t, r.Do(2, retire("a"), retire("c")), "", "")
	r.Snapshot() // what is written from here on is not in it
	r.Do(3, marked("b.2", 1))
	r.Do(3, marked("b.3", 2))
	r.Restart()
	results := r.Do(4, marked("b.1", 1), marked("b.2", 1), marked("b.3", 1), marked("a.1", 1), marked("c.1", 1))
	wantKinds(t, results, interrex.ErrOutcomeUnknown, "", "", "", "")
	for i, want := range []bool{false, true, true, false, false} {
		if results[i].Replayed != want {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
}

func TestOtherIdsAreKeptTenMinutes(t *testing.T) {
	ten := state.Time(10 * time.Minute)
	r := statetest.NewReplica(t, register)
	r.Do(0, request("id", "a"))
	if results := r.Do(ten-1, request("id", "a")); !results[0].Replayed {
		t.Error("dropped too soon")
	}
	if results := r.Do(ten, request("id", "a")); results[0].Replayed {
		t.Error("kept too long")
	}
}

func TestTheOldestOfOtherIdsMakesRoom(t *testing.T) {
	r := statetest.NewReplica(t, register)
	for i := range 64 {
		ops := make([]state.Operation, 1024)
		for j := range ops {
			ops[j] = request(fmt.Sprint("id", i*1024+j), "a")
		}
		r.Do(1, ops...)
	}
	results := r.Do(2, request("id0", "a"), request("one more", "a"), request("id1", "a"), request("id0", "a"))
	for i, want := range []bool{true, false, true, false} {
		if results[i].Err != nil || results[i].Replayed != want {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
}

func TestALoweredLimitOfOtherIdsIsReached(t *testing.T) {
	r := statetest.NewReplica(t, register)
	for i := range 5 {
		r.Do(1, request(fmt.Sprint("id", i), "a"))
	}
	r.Do(2, setSettings(map[string]string{"requests.records": "2"}))
	results := r.Do(3, request("one more", "a"), request("id4", "a"), request("id3", "a"))
	for i, want := range []bool{false, true, false} {
		if results[i].Err != nil || results[i].Replayed != want {
			t.Errorf("result %d: %+v", i, results[i])
		}
	}
}

func TestANameThatIsGivenBackIsForgotten(t *testing.T) {
	r := statetest.NewReplica(t, register)
	r.Do(1, marked("n.5", 5))
	before := r.State.Revision()
	others := state.Operation{Table: state.SystemTable, Caller: "bob", Data: (&state.Retire{Name: "n"}).Append(nil)}
	mine := others
	mine.Caller = "ann"
	r.Do(2, others)
	if !r.Do(2, marked("n.5", 5))[0].Replayed {
		t.Error("another caller gave it back")
	}
	wantKinds(t, r.Do(3, mine, mine), "", "")
	if r.State.Revision() != before {
		t.Error("giving back takes a revision")
	}
	wantKinds(t, r.Do(4, marked("n.1", 1)), "")
}

// strict is a register of which a reply may be given again only while its value
// still stands.
type strict struct{ *testtable.Register }

func (s strict) Replay(r state.Reply) error {
	view := s.Freeze()
	defer view.Release()
	var content bytes.Buffer
	if err := view.Write(&content); err != nil {
		return err
	}
	if !strings.Contains(content.String(), r.(*testtable.RegisterReply).Value.Text) {
		return interrex.Errorf(interrex.ErrNotHeld, "overwritten")
	}
	return nil
}

func TestATableMayRefuseAReplay(t *testing.T) {
	r := statetest.NewReplica(t, func() []state.Table { return []state.Table{strict{testtable.NewRegister()}} })
	op := request("id", "a")
	r.Do(1, op)
	if res, found := r.State.Recorded(&op); !found || res.Err != nil || !res.Replayed || res.Revision != 1 {
		t.Fatalf("recorded: %+v, %v", res, found)
	}
	r.Do(2, set("a", "new"))
	for _, ask := range []func() state.Result{
		func() state.Result { return r.Do(3, op)[0] },
		func() state.Result { res, _ := r.State.Recorded(&op); return res },
	} {
		if res := ask(); interrex.KindOf(res.Err) != interrex.ErrNotHeld || !res.Replayed || res.Reply != nil || res.Revision != 1 {
			t.Errorf("replayed: %+v", res)
		}
	}
}

func TestALeaderAsksForARecordAndChangesNothing(t *testing.T) {
	r := statetest.NewReplica(t, register)
	op, late, fresh, free := marked("n.5", 5), marked("n.4", 1), marked("n.6", 6), set("a", "")
	r.Do(1, op)
	before := string(r.Snapshot())
	if res, found := r.State.Recorded(&op); !found || !res.Replayed {
		t.Errorf("%+v, %v", res, found)
	}
	if res, found := r.State.Recorded(&late); !found || interrex.KindOf(res.Err) != interrex.ErrOutcomeUnknown {
		t.Errorf("%+v, %v", res, found)
	}
	for _, op := range []state.Operation{fresh, free} {
		if res, found := r.State.Recorded(&op); found {
			t.Errorf("%+v", res)
		}
	}
	if string(r.Snapshot()) != before {
		t.Error("asking has changed the state")
	}
}

// archive is a register that keeps its replies itself, by key: the record has only
// the key.
type archive struct {
	*testtable.Register
	replies map[string]state.Reply
}

type kept string

func (k *archive) Keep(r state.Reply) state.Reply {
	text := r.(*testtable.RegisterReply).Value.Text
	k.replies[text] = r
	return kept(text)
}

func (k *archive) Kept(r state.Reply) state.Reply { return k.replies[string(r.(kept))] }

func (k *archive) AppendReply(b []byte, r state.Reply) []byte { return append(b, r.(kept)...) }

func TestATableMayKeepItsRepliesItself(t *testing.T) {
	for _, id := range []string{"plain", "name.7"} {
		k := &archive{testtable.NewRegister(), map[string]state.Reply{}}
		r := statetest.NewReplica(t, func() []state.Table { return []state.Table{k} })
		first := r.Do(1, request(id, "a"))[0]
		if again := r.Do(1, request(id, "a"))[0]; !again.Replayed || again.Reply != first.Reply {
			t.Errorf("%s: %+v, first %+v", id, again, first)
		}
		r.Snapshot() // with what Keep gave
		k.replies["text"] = nil
		if again := r.Do(1, request(id, "a"))[0]; !again.Replayed || again.Reply != nil {
			t.Errorf("%s: kept no more: %+v", id, again)
		}
	}
}
