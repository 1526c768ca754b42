package machine_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// group makes one operation of several.
func group(ops ...state.Operation) (op state.Operation) {
	for _, o := range ops {
		op.Group = append(op.Group, state.Part{Table: o.Table, Data: o.Data, Minted: o.Minted})
	}
	return op
}

func parts(t *testing.T, r state.Result) machine.GroupReply {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Reply.(machine.GroupReply)
}

func revisions(g machine.GroupReply) (all []interrex.Revision) {
	for _, p := range g {
		all = append(all, p.Revision)
	}
	return all
}

func TestAGroupIsDoneInOrderWithARevisionForEach(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, set("a", "old"))
	results := r.Do(2, group(set("b", "new"), del("a"), set("c", "new")))
	if got := revisions(parts(t, results[0])); !slices.Equal(got, []interrex.Revision{2, 3, 4}) || results[0].Revision != 4 {
		t.Errorf("revisions %v, and of the group %d", got, results[0].Revision)
	}
	var kinds []string
	for _, e := range r.Events[1:] {
		kinds = append(kinds, fmt.Sprint(e.Revision, e.Kind, e.Key))
	}
	if want := []string{"2register.setb", "3register.deleteda", "4register.setc"}; !slices.Equal(kinds, want) {
		t.Errorf("events %q, want %q", kinds, want)
	}
}

func TestAGroupIsDoneAsAWholeOrNotAtAll(t *testing.T) {
	for name, test := range map[string]struct {
		op   state.Operation
		kind interrex.Kind
		text string
	}{
		"the second is refused":   {group(set("b", "1"), del("none"), set("c", "1")), interrex.ErrNotFound, "operation 2: register: there is no key"},
		"the third is malformed":  {group(set("b", "1"), del("a"), state.Operation{Table: testtable.RegisterTable, Data: []byte{9}}), interrex.ErrInvalid, "operation 3: "},
		"one key twice":           {group(set("b", "1"), set("c", "1"), set("b", "2")), interrex.ErrInvalid, "operation 3: another operation of the group is about default/b"},
		"what the group has made": {group(set("b", "1"), del("b")), interrex.ErrNotFound, "operation 2: "},
	} {
		r := testreplica.New(t, register)
		r.Do(1, set("a", "1"))
		results := r.Do(1, test.op)
		wantKinds(t, results, test.kind)
		if err := results[0].Err; !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, want %q", name, err, test.text)
		}
		if results[0].Revision != 1 || r.State.Revision() != 1 || len(r.Events) != 1 {
			t.Errorf("%s: revision %d, %d events", name, r.State.Revision(), len(r.Events))
		}
	}
}

// nameless is a register of commands without a key.
type nameless struct{ *testtable.Register }

func (n nameless) Decode(data []byte) (state.Command, error) {
	c, err := n.Register.Decode(data)
	return withoutKey{c}, err
}

func (n nameless) Check(now state.Time, c state.Command) error {
	return n.Register.Check(now, c.(withoutKey).Command)
}

func (n nameless) Apply(t *state.Turn, c state.Command) state.Reply {
	return n.Register.Apply(t, c.(withoutKey).Command)
}

type withoutKey struct{ state.Command }

func (withoutKey) About() state.About { return state.About{Name: "nameless"} }

func TestOperationsWithoutAKeyStandAloneInAGroup(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{nameless{testtable.NewRegister()}} })
	results := r.Do(1, group(set("a", "1"), set("b", "1")), group(set("a", "1")))
	wantKinds(t, results, interrex.ErrInvalid, "")
	if err := results[0].Err; !strings.Contains(err.Error(), "operation 2: ") || !strings.Contains(err.Error(), "one by one") {
		t.Error(err)
	}
}

func TestAGroupHasOneRecord(t *testing.T) {
	for _, id := range []string{"plain", "name.7"} {
		one, two := testreplica.New(t, register), testreplica.New(t, register)
		first := group(set("a", "1"), set("b", "1"))
		first.Caller, first.RequestID, first.Attempt = "ann", id, 1
		again := group(set("a", "1"), state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("b", "1", 0), Minted: []byte{7}})
		again.Caller, again.RequestID, again.Attempt = "ann", id, 2
		want := one.Do(1, first)[0]
		two.Do(1, first)
		two.Restart()
		if !bytes.Equal(one.Snapshot(), two.Snapshot()) {
			t.Fatalf("%s: the snapshots differ", id)
		}
		got := two.Do(2, again)[0]
		if !got.Replayed || got.Attempt != 1 || got.Revision != 2 || !slices.Equal(revisions(parts(t, got)), revisions(parts(t, want))) {
			t.Errorf("%s: %+v, want %+v replayed", id, got, want)
		}
		if v := parts(t, got)[1].Reply.(*testtable.RegisterReply).Value; v.Text != "1" || v.Revision != 2 {
			t.Errorf("%s: the second reply is %+v", id, v)
		}
		if r, found := two.State.Recorded(&again); !found || !r.Replayed {
			t.Errorf("%s: Recorded: %+v, %v", id, r, found)
		}
		for name, other := range map[string]state.Operation{
			"another data":   group(set("a", "1"), set("b", "2")),
			"another order":  group(set("b", "1"), set("a", "1")),
			"one less":       group(set("a", "1")),
			"a single one":   set("a", "1"),
			"another fence":  {Group: first.Group, Fence: interrex.Fence{Key: interrex.Key{Namespace: "a", Name: "b"}, Token: 1}},
			"another cut":    {Group: []state.Part{{Table: testtable.RegisterTable, Data: slices.Concat(first.Group[0].Data, []byte{1, 9: 0}, first.Group[1].Data)}}},
			"another caller": first,
		} {
			other.Caller, other.RequestID = "ann", id
			kind := interrex.ErrInvalid
			if name == "another caller" {
				other.Caller, kind = "bob", ""
			}
			if got := two.Do(3, other)[0]; interrex.KindOf(got.Err) != kind {
				t.Errorf("%s: %s: %v, want %q", id, name, got.Err, kind)
			}
		}
	}
}

func TestTheSameGroupForAnotherTableIsAnotherContent(t *testing.T) {
	const other = testtable.RegisterTable + 1
	r := testreplica.New(t, func() []state.Table {
		return []state.Table{testtable.NewRegister(), testtable.NewRegisterAs(other)}
	})
	here := group(set("a", "1"))
	here.RequestID = "id"
	there := here
	there.Group = []state.Part{{Table: other, Data: here.Group[0].Data}}
	wantKinds(t, r.Do(1, here, there), "", interrex.ErrInvalid)
}

func TestARecordOfAGroupInAGroupIsRefused(t *testing.T) {
	for _, b := range [][]byte{{1, 0, 1, 0}, {0}} { // a group with one operation of the state's own, and one with none
		if err := machine.DecodeGroupReply(b); err == nil || !strings.Contains(err.Error(), "a record is of a group") {
			t.Errorf("%v: %v", b, err)
		}
	}
}

func TestARefusedGroupLeavesNoRecord(t *testing.T) {
	r := testreplica.New(t, register)
	op := group(set("a", "1"), del("b"))
	op.RequestID = "id"
	wantKinds(t, r.Do(1, op), interrex.ErrNotFound)
	r.Do(2, set("b", "1"))
	if got := r.Do(3, op)[0]; got.Err != nil || got.Replayed {
		t.Errorf("asked again: %+v", got)
	}
}

func TestEachOperationOfAGroupTakesARevision(t *testing.T) {
	r := testreplica.New(t, register)
	if got := revisions(parts(t, r.Do(1, group(set("a", "1"), set("b", "1")))[0])); !slices.Equal(got, []interrex.Revision{1, 2}) {
		t.Errorf("revisions %v", got)
	}
}

func TestTheSizeOfAGroupIsNeverBelowItsBytes(t *testing.T) {
	op := group(slices.Repeat([]state.Operation{{Table: 65535, Data: make([]byte, 200), Minted: make([]byte, limits.MaxMinted)}}, limits.MaxGroup)...)
	if n := len((&machine.Entry{Operations: []state.Operation{op}}).Append(nil)); op.Size() < n {
		t.Errorf("%d, and it takes %d", op.Size(), n)
	}
}

func TestWhatChangesNothingInAGroupTakesNoRevision(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{idle{testtable.NewRegister()}} })
	g := parts(t, r.Do(1, group(set("a", "1"), del("none"), set("b", "1")))[0])
	if got := revisions(g); !slices.Equal(got, []interrex.Revision{1, 1, 2}) {
		t.Errorf("revisions %v", got)
	}
}

// counting refuses groups of more than two, and says how many it was requested.
type counting struct{ *testtable.Register }

func (counting) CheckGroup(_ state.Time, all []state.Command) error {
	if len(all) > 2 {
		return interrex.Errorf(interrex.ErrConflict, "%d are too many", len(all))
	}
	return nil
}

func TestARefusalIsThatOfTheOperationThatItNames(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{counting{testtable.NewRegister()}} })
	err := r.Do(1, group(set("a", "1"), set("b", "1"), set("c", "1"), set("d", "1"), set("e", "1")))[0].Err
	var e *interrex.Error
	if !errors.As(err, &e) || e.Message != "operation 3: 3 are too many" {
		t.Errorf("%v", err)
	}
}

// minting answers with what was minted for its operations.
type minting struct{ *testtable.Register }

func (m minting) Apply(t *state.Turn, c state.Command) state.Reply {
	m.Register.Apply(t, c)
	return &testtable.RegisterReply{Value: testtable.Value{Text: string(t.Minted)}}
}

func TestEachOperationOfAGroupHasWhatWasMintedForIt(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{minting{testtable.NewRegister()}} })
	a, b := set("a", "1"), set("b", "1")
	a.Minted = []byte("of a")
	g := parts(t, r.Do(1, group(a, b))[0])
	for i, want := range []string{"of a", ""} {
		if got := g[i].Reply.(*testtable.RegisterReply).Value.Text; got != want {
			t.Errorf("operation %d: %q, want %q", i, got, want)
		}
	}
}

// followed counts the calls of Follow and their events, and takes a revision for
// each call.
type followed struct {
	*testtable.Register
	calls *[]int
}

func (f followed) Follow(t *state.Turn, events []state.Event) {
	t.Next()
	*f.calls = append(*f.calls, len(events))
}

func TestFollowersSeeAGroupAsAWhole(t *testing.T) {
	var calls []int
	r := testreplica.New(t, func() []state.Table { return []state.Table{followed{testtable.NewRegister(), &calls}} })
	results := r.Do(1, set("c", "1"), group(set("a", "1"), set("b", "1")), set("c", "1"))
	if !slices.Equal(calls, []int{1, 2, 1}) || results[1].Revision != 4 || results[2].Revision != 6 {
		t.Errorf("calls with %v events, and the revisions %d and %d", calls, results[1].Revision, results[2].Revision)
	}
}

// idle is a register in which a delete of what is not there changes nothing.
type idle struct{ *testtable.Register }

func (i idle) Check(now state.Time, c state.Command) error { return nil }

func (i idle) Idle(c state.Command) (state.Reply, bool) {
	err := i.Register.Check(0, c)
	return &testtable.RegisterReply{}, err != nil
}

func TestWhatChangesNothingTakesNoRevision(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{idle{testtable.NewRegister()}} })
	results := r.Do(1, del("x"), set("a", "1"), del("x"))
	wantKinds(t, results, "", "", "")
	for i, want := range []interrex.Revision{0, 1, 1} {
		if results[i].Revision != want || results[i].Reply == nil {
			t.Errorf("operation %d: %+v, want revision %d", i, results[i], want)
		}
	}
	if len(r.Events) != 1 {
		t.Errorf("%d events", len(r.Events))
	}
}

func TestWhatChangesNothingTakesNoRevisionInAGroup(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return []state.Table{idle{testtable.NewRegister()}} })
	op := group(del("x"), set("a", "1"), del("y"))
	op.RequestID = "some"
	results := r.Do(1, op)
	if got := revisions(parts(t, results[0])); !slices.Equal(got, []interrex.Revision{0, 1, 1}) || results[0].Revision != 1 {
		t.Errorf("revisions %v, and of the group %d", got, results[0].Revision)
	}
	op = group(del("x"), del("y"))
	op.RequestID = "none"
	if first, again := r.Do(2, op)[0], r.Do(3, op)[0]; first.Err != nil || again.Err != nil || again.Replayed || r.State.Revision() != 1 {
		t.Errorf("nothing to do: %+v, %+v at %d", first, again, r.State.Revision())
	}
}

// leased are a table of leases and a register.
func leased() []state.Table {
	return []state.Table{lease.New(), testtable.NewRegister()}
}

func onLease(c state.Command) state.Operation {
	return state.Operation{Table: machine.LeaseTable, Data: c.Append(nil)}
}

func TestAGroupIsFencedOnce(t *testing.T) {
	r := testreplica.New(t, leased)
	k := interrex.Key{Namespace: "default", Name: "db"}
	r.Do(1, onLease(&lease.Claim{Key: k, Holder: "ann", TTL: 1e9}))
	op := group(onLease(&lease.Revoke{Key: k, Token: 1}), set("a", "1"))
	op.Fence = interrex.Fence{Key: k, Token: 1}
	wantKinds(t, r.Do(2, op, op), "", interrex.ErrNotHeld)
	if r.State.Revision() != 3 {
		t.Errorf("revision %d", r.State.Revision())
	}
}

func TestAGrantThatHasEndedIsNotReplayedOutOfAGroup(t *testing.T) {
	r := testreplica.New(t, leased)
	k := interrex.Key{Namespace: "default", Name: "db"}
	op := group(set("a", "1"), onLease(&lease.Claim{Key: k, Holder: "ann", TTL: 1e9}))
	op.RequestID = "id"
	results := r.Do(1, op, op)
	if parts(t, results[0]); !results[1].Replayed || results[1].Err != nil {
		t.Fatalf("while it is held: %+v", results[1])
	}
	r.Do(2, onLease(&lease.Revoke{Key: k, Token: 2}))
	r.Restart()
	got := r.Do(3, op)[0]
	if !errors.Is(got.Err, interrex.ErrNotHeld) || !strings.Contains(got.Err.Error(), "operation 2: ") {
		t.Errorf("after its end: %+v", got)
	}
}

// The table says only that a group is refused: which operation it was is found.
func TestTheRefusedOperationOfManyIsNamed(t *testing.T) {
	k := func(i int) interrex.Key { return interrex.Key{Namespace: "default", Name: fmt.Sprint(i)} }
	for bad := range 20 {
		r := testreplica.New(t, leased)
		r.Do(1, onLease(&lease.Claim{Key: k(bad), Holder: "bob", TTL: 1e9}))
		op := group(set("first", "1"))
		for i := range 20 {
			op.Group = append(op.Group, group(onLease(&lease.Claim{Key: k(i), Holder: "ann", TTL: 1e9})).Group...)
		}
		err := r.Do(1, op)[0].Err
		var e *interrex.Error
		if !errors.As(err, &e) || e.Kind != interrex.ErrHeld || e.Holder != "bob" || !strings.HasPrefix(e.Message, fmt.Sprintf("operation %d: cannot claim", bad+2)) {
			t.Errorf("%d: %+v", bad, err)
		}
	}
}

func TestAGroupOfAnUnknownTableStopsTheReplica(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, group(set("a", "1"), state.Operation{Table: 77}))
	if err := r.State.Halted(); err == nil || !strings.Contains(err.Error(), "unknown table 77 in a group") || r.State.Revision() != 0 {
		t.Errorf("halted: %v, at revision %d", err, r.State.Revision())
	}
}
