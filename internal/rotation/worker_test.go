package rotation

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	quiet "github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// alone is a cluster of one agent, which leads, and does at once what a phase asks for.
type alone struct {
	*testing.T
	worker *Worker
	table  *member.Table
	keys   []string // the pins of those that were kept
	order  []string // what has happened
	lost   error    // in place of the answer to a proposal
	full   error    // a key cannot be kept
	heirs  []string
	clock  *testclock.Clock
}

func newAlone(t *testing.T) *alone {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &alone{T: t, table: member.New(), keys: []string{ca.Pin().String()}, clock: testclock.NewClock(time.Now())}
	w.worker = &Worker{config: Config{
		Table: w.table, Clock: w.clock, Logger: quiet.Logger{}, Look: w.look,
		Keep: func(ca *authority.Authority) error {
			if w.full != nil {
				return w.full
			}
			w.keys, w.order = append(w.keys, ca.Pin().String()), append(w.order, "key")
			return nil
		},
		Propose: func(ctx context.Context, c state.Command) error {
			if _, is := ctx.Deadline(); !is {
				t.Error("nothing bounds a step")
			}
			w.order = append(w.order, c.About().Name)
			return errors.Join(w.apply(c), w.lost)
		},
		HandOver: func(_ context.Context, id string) error { w.heirs = append(w.heirs, id); return nil },
	}}
	for _, c := range []state.Command{&member.SetCA{Cert: string(ca.Cert())}, &member.RotateCA{}} {
		if err := w.apply(c); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *alone) apply(c state.Command) error {
	decoded, err := w.table.Decode(c.Append(nil))
	if err == nil {
		err = w.table.Check(0, decoded)
	}
	if err == nil {
		w.table.Apply(&state.Turn{Revision: 1, Wall: time.Unix(1, 0), Table: machine.MemberTable}, decoded)
	}
	return err
}

func pin(der string) string { return jointoken.PinOfDER([]byte(der)).String() }

// look is what an agent sees that trusts what the cluster trusts, and has a certificate
// of its CA.
func (w *alone) look() Cluster {
	me := Agent{ID: "n1", Voter: true, Leader: true, Alive: true, Met: true, Fit: true, Keys: w.keys, Issuer: pin(w.table.CA())}
	for _, ca := range w.table.Trusted() {
		me.Trusts = append(me.Trusts, pin(string(ca)))
	}
	c := Cluster{CA: pin(w.table.CA()), Rotation: w.table.Rotation(), Agents: []Agent{me}}
	if c.Rotation != nil {
		c.Next = pin(c.Rotation.Next)
		for _, ca := range c.Rotation.Former {
			c.Former = append(c.Former, pin(ca))
		}
	}
	return c
}

func TestALeaderTakesTheStepsOneByOne(t *testing.T) {
	w := newAlone(t)
	first := w.table.CA()
	for range 5 {
		if err := w.worker.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.table.Rotation() != nil || w.table.CA() == first || pin(w.table.CA()) != w.keys[1] {
		t.Errorf("the rotation is %+v", w.table.Rotation())
	}
	if w.order[0] != "key" || w.order[1] != "offer_ca" {
		t.Errorf("the next CA was offered before its key was on the disk: %v", w.order)
	}
	if err := w.worker.look(t.Context()); err != nil || len(w.order) != 6 {
		t.Errorf("after the rotation: %v, %v", w.order, err)
	}
}

// A proposal whose answer was lost may have happened: the next look goes by the table.
func TestAStepWhoseAnswerWasLostIsNotTakenTwice(t *testing.T) {
	w := newAlone(t)
	w.lost = errors.New("the answer was lost")
	for range 5 {
		if err := w.worker.look(t.Context()); err == nil {
			t.Fatal("the lost answer is not reported")
		}
	}
	if w.table.Rotation() != nil || len(w.keys) != 2 {
		t.Errorf("the rotation is %+v, after %v", w.table.Rotation(), w.order)
	}
}

// While nothing can be proposed, each further CA would leave a key on the disk.
func TestTheSameCAIsOfferedUntilItIsTheNext(t *testing.T) {
	w := newAlone(t)
	propose := w.worker.config.Propose
	w.worker.config.Propose = func(context.Context, state.Command) error { return errors.New("the disk is full") }
	for range 3 {
		if err := w.worker.look(t.Context()); err == nil {
			t.Fatal("it was offered")
		}
	}
	w.worker.config.Propose = propose
	if err := w.worker.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := pin(w.table.Rotation().Next)
	if slices.ContainsFunc(w.keys[1:], func(kept string) bool { return kept != first }) {
		t.Errorf("the keys of %v are kept for %s", w.keys[1:], first)
	}
	w.keys = w.keys[:1] // lost
	if err := w.worker.look(t.Context()); err != nil || pin(w.table.Rotation().Next) == first {
		t.Errorf("a CA whose key is lost is offered again (%v)", err)
	}
}

func TestACAWhoseKeyCannotBeKeptIsNotOffered(t *testing.T) {
	w := newAlone(t)
	w.full = errors.New("the disk is full")
	if err := w.worker.look(t.Context()); !errors.Is(err, w.full) || len(w.order) != 0 {
		t.Errorf("%v, %v", w.order, err)
	}
}

func TestALeaderWithoutTheKeyHandsOver(t *testing.T) {
	w := newAlone(t)
	see := w.worker.config.Look
	w.worker.config.Look = func() Cluster {
		c := see()
		c.Rotation = nil
		c.Agents[0].Keys = nil
		c.Agents = append(c.Agents, Agent{ID: "n2", Voter: true, Alive: true, Met: true, Fit: true, Keys: []string{c.CA}})
		return c
	}
	for range 3 {
		if err := w.worker.look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.heirs) != 1 || w.heirs[0] != "n2" {
		t.Errorf("it hands over to %v", w.heirs)
	}
	w.clock.Advance(handOverPause)
	if err := w.worker.look(t.Context()); err != nil || len(w.heirs) != 2 {
		t.Errorf("it does not try again: %v, %v", w.heirs, err)
	}
}
