package machine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// request is a write of key under a request id.
func request(id, key string) state.Operation {
	op := set(key, "text")
	op.Caller, op.RequestID = "ann", id
	return op
}

// naming opens names of ann's, and returns what makes a write under an id of one of
// them. A name that was not opened is written as it is.
func naming(r *testreplica.Replica, open ...string) func(id string, mark uint64) state.Operation {
	names := map[string]string{}
	for i, short := range open {
		names[short] = r.OpenName("ann", uint64(i+1))
	}
	return func(id string, mark uint64) state.Operation {
		if i := strings.LastIndex(id, "."); i >= 0 && names[id[:i]] != "" {
			id = names[id[:i]] + id[i:]
		}
		op := request(id, "k")
		op.Mark = mark
		return op
	}
}

// retire returns the name of a numbered operation to the state.
func retire(op state.Operation) state.Operation {
	name := op.RequestID[:strings.LastIndex(op.RequestID, ".")]
	return state.Operation{Table: machine.SystemTable, Caller: op.Caller, Data: (&machine.Retire{Name: name, Mark: op.Mark}).Append(nil)}
}

func TestARepeatedAttemptGetsTheSameAnswer(t *testing.T) {
	for _, id := range []string{"plain", "n.7"} {
		r := testreplica.New(t, register)
		first := naming(r, "n")(id, 1)
		first.Attempt = 1
		again := first
		again.Attempt = 2
		results := r.Do(1, first, again)
		r.Restart()
		results = append(results, r.Do(2, again)...)
		for i, got := range results {
			if got.Err != nil || got.Revision != 2 || got.Attempt != 1 || got.Replayed != (i > 0) {
				t.Errorf("%s: answer %d: %+v", id, i, got)
			}
			if reply := got.Reply.(*testtable.RegisterReply); reply.Value.Text != "text" {
				t.Errorf("%s: reply %d: %+v", id, i, reply)
			}
		}
		if r.State.Revision() != 2 {
			t.Errorf("%s: it was done again", id)
		}
	}
}

func TestARecordIsOfOneCallerAndOneContent(t *testing.T) {
	r := testreplica.New(t, register)
	other := request("id", "a")
	other.Caller = "bob"
	wantKinds(t, r.Do(1, request("id", "a"), other, request("id", "b")), "", "", interrex.ErrInvalid)
	if r.State.Revision() != 2 {
		t.Errorf("revision %d", r.State.Revision())
	}
	elsewhere := request("id", "a")
	elsewhere.Table = 301
	r = testreplica.New(t, func() []state.Table {
		return []state.Table{testtable.NewRegister(), testtable.NewRegisterAs(301)}
	})
	wantKinds(t, r.Do(1, request("id", "a"), elsewhere), "", interrex.ErrInvalid)
}

func TestAnotherFenceIsAnotherContent(t *testing.T) {
	r := testreplica.New(t, register)
	fenced := request("id", "a")
	fenced.Fence = interrex.Fence{Key: interrex.Key{Namespace: "default", Name: "db"}, Token: 3}
	wantKinds(t, r.Do(1, request("id", "a"), fenced), "", interrex.ErrInvalid)

	r = testreplica.New(t, leased)
	r.Do(1, onLease(&lease.Claim{Key: fenced.Fence.Key, Holder: "ann", TTL: 1e9}))
	fenced.Fence.Token = 1
	otherToken, otherKey := fenced, fenced
	otherToken.Fence.Token, otherKey.Fence.Key.Name = 2, "queue"
	wantKinds(t, r.Do(1, fenced, otherToken, otherKey, fenced), "", interrex.ErrInvalid, interrex.ErrInvalid, "")
}

func TestARefusalIsNotKept(t *testing.T) {
	r := testreplica.New(t, register)
	op := del("a")
	op.RequestID = "id"
	results := r.Do(1, op, set("a", ""), op)
	wantKinds(t, results, interrex.ErrNotFound, "", "")
	if results[2].Replayed || results[2].Revision != 2 {
		t.Errorf("it is answered %+v", results[2])
	}
}

func TestBelowTheMarkNothingIsDone(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "n")
	wantKinds(t, r.Do(1, marked("n.1", 1), marked("n.2", 1), marked("n.5", 2)), "", "", "")
	results := r.Do(2, marked("n.1", 1), marked("n.2", 1), marked("n.1", 2), marked("n.3", 4))
	wantKinds(t, results, interrex.ErrOutcomeUnknown, "", interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown)
	if !results[1].Replayed {
		t.Error("the record at the mark is gone")
	}
	// An operation's own mark counts, and also when it was refused.
	wantKinds(t, r.Do(3, marked("n.2", 1)), interrex.ErrOutcomeUnknown)
	if r.State.Revision() != 4 {
		t.Errorf("revision %d", r.State.Revision())
	}
}

func TestANameHasAWindowAboveItsMark(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "n", "full")
	results := r.Do(1, marked("n.1024", 1), marked("n.1025", 1), marked("n.1025", 2), marked("n.18446744073709551615", 2))
	wantKinds(t, results, "", interrex.ErrOverloaded, "", interrex.ErrOverloaded)
	for n := range 1024 {
		r.Do(2, marked(fmt.Sprint("full.", n+1), 1))
	}
	wantKinds(t, r.Do(3, marked("full.1", 1), marked("full.1025", 1), marked("full.1025", 2)), "", interrex.ErrOverloaded, "")
}

func TestWhatIsNoNumberIsARecordByItself(t *testing.T) {
	r := testreplica.New(t, register)
	marked := naming(r, "n")
	for _, id := range []string{"n.01", "n.+1", "n.-1", ".5", "n.", "n.99999999999999999999", "n", "n.5x", "n. 5"} {
		first, again := marked(id, 1), marked(id, 7) // a mark means nothing here
		results := r.Do(1, first, again)
		if results[0].Err != nil || !results[1].Replayed {
			t.Errorf("%q: %+v", id, results)
		}
	}
	wantKinds(t, r.Do(1, marked("job.20261121", 0)), "")
	long := request(string(make([]byte, 65)), "a")
	wantKinds(t, r.Do(1, long), interrex.ErrInvalid)
}

func TestOtherIdsAreKeptTenMinutes(t *testing.T) {
	ten := state.Time(10 * time.Minute)
	r := testreplica.New(t, register)
	r.Do(0, request("id", "a"))
	if results := r.Do(ten-1, request("id", "a")); !results[0].Replayed {
		t.Error("dropped too soon")
	}
	if results := r.Do(ten, request("id", "a")); results[0].Replayed {
		t.Error("kept too long")
	}
}

// strict is a register of which a reply may be given again only while its value
// still stands.
type strict struct{ *testtable.Register }

func (s strict) Keep(r state.Reply) state.Reply { return r }

func (s strict) Kept(_ state.Command, r state.Reply) (state.Reply, error) {
	view := s.Freeze()
	defer view.Release()
	var content bytes.Buffer
	if err := view.Write(&content); err != nil {
		return nil, err
	}
	if !strings.Contains(content.String(), r.(*testtable.RegisterReply).Value.Text) {
		return nil, interrex.Errorf(interrex.ErrNotHeld, "overwritten")
	}
	return r, nil
}

func TestATableMayRefuseAReplay(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{strict{testtable.NewRegister()}} })
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
	r := testreplica.New(t, register)
	marked := naming(r, "n")
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

func (k *archive) Kept(_ state.Command, r state.Reply) (state.Reply, error) {
	return k.replies[string(r.(kept))], nil
}

func (k *archive) AppendReply(b []byte, r state.Reply) []byte { return append(b, r.(kept)...) }

func TestATableMayKeepItsRepliesItself(t *testing.T) {
	for _, id := range []string{"plain", "n.7"} {
		k := &archive{testtable.NewRegister(), map[string]state.Reply{}}
		r := testreplica.New(t, func() []state.Table { return []state.Table{k} })
		op := naming(r, "n")(id, 1)
		first := r.Do(1, op)[0]
		if again := r.Do(1, op)[0]; !again.Replayed || again.Reply != first.Reply {
			t.Errorf("%s: %+v, first %+v", id, again, first)
		}
		r.Snapshot() // with what Keep gave
		k.replies["text"] = nil
		if again := r.Do(1, op)[0]; !again.Replayed || again.Reply != nil {
			t.Errorf("%s: kept no more: %+v", id, again)
		}
	}
}
