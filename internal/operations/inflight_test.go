package operations

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
)

// opener opens operations on streams of one server.
type opener struct {
	t      *testing.T
	server *Server
	last   uint64
}

// inFlight returns how many are in flight, by kind.
func (o *opener) inFlight() map[string]int64 {
	all := map[string]int64{}
	for kind, u := range o.server.calls.Uses {
		all[kind] = u.Used
	}
	return all
}

// open opens a claim, an extend or a claim that waits, on behalf of a name or a share.
func (o *opener) open(st *stream, kind, name, share string) error {
	o.last++
	op := asks(o.t, o.last, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"})
	switch kind {
	case "extend":
		op = asks(o.t, o.last, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b", Token: 7})
	case "wait":
		op.WaitMs = 1000
	}
	op.Caller, op.Share = name, share
	_, err := st.begin(op, nil)
	return err
}

// fill opens until it is refused, and returns how many it has opened.
func (o *opener) fill(st *stream, kind, name, share string) (n int) {
	for {
		switch err := o.open(st, kind, name, share); {
		case err == nil:
			n++
		case interrex.KindOf(err) == interrex.ErrOverloaded:
			return n
		default:
			o.t.Fatal(err)
		}
	}
}

func newOpener(t *testing.T) *opener {
	s := newServer(t, func(c *Config, _ *consistency.Config) { c.MaxOpen = 1000 })
	s.calls = admission.NewCalls(admission.NewInFlight(64)) // of which one caller may have 16
	return &opener{t: t, server: s}
}

// by returns a stream of a caller.
func (o *opener) by(c admission.Caller) *stream {
	st := newStream(o.t, o.server)
	st.caller = c
	return st
}

func TestOneCallerHasAQuarterOfWhatIsInFlight(t *testing.T) {
	o := newOpener(t)
	flood, second := o.by(admission.Caller{Name: "flood"}), o.by(admission.Caller{Name: "flood"})
	if n := o.fill(flood, "claim", "", ""); n != 16 {
		t.Errorf("one caller has %d claims in flight", n)
	}
	if n := o.fill(second, "claim", "", ""); n != 0 {
		t.Errorf("on another stream it has %d more", n)
	}
	if n := o.fill(second, "extend", "", ""); n != 16 {
		t.Errorf("beside its claims it has %d extends", n)
	}
	if n := o.fill(second, "wait", "", ""); n != 16 {
		t.Errorf("and %d claims that wait", n)
	}
	for _, kind := range []string{"claim", "extend", "wait"} {
		if err := o.open(o.by(admission.Caller{Remote: "10.0.0.1:7"}), kind, "", ""); err != nil {
			t.Errorf("another caller's %s: %v", kind, err)
		}
	}
	for _, r := range flood.open {
		flood.settle(r, outcome{})
	}
	flood.take(&outbox{})
	second.close()
	if got := o.inFlight(); got["calls"] != 1 || got["extends"] != 1 || got["waits"] != 1 {
		t.Errorf("in the end there are %v", got)
	}
}

// An agent that forwards has the operations of many callers.
func TestForwardedOperationsCountForTheirCallers(t *testing.T) {
	o := newOpener(t)
	peer := o.by(admission.Caller{Door: admission.Peer, Operator: true, Remote: "10.0.0.2:7401"})
	if n := o.fill(peer, "claim", "flood", ""); n != 16 {
		t.Errorf("one caller has %d", n)
	}
	if n := o.fill(o.by(admission.Caller{Name: "flood"}), "claim", "", ""); n != 0 {
		t.Errorf("and %d more here", n)
	}
	if n := o.fill(peer, "claim", "", "10.0.0.9:1"); n != 12 {
		t.Errorf("one without a name has %d of 48", n)
	}
	flood, good := gets(t, 1001), gets(t, 1002)
	flood.Caller, good.Caller = "flood", "good"
	if peer.accept(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{flood, good}}); len(peer.refused) != 1 || peer.refused[0].id != 1001 {
		t.Errorf("of a message with reads of both, refused are %v", peer.refused)
	}
	for _, other := range [][2]string{{"good", ""}, {"", "10.0.0.9:2"}} {
		if err := o.open(peer, "claim", other[0], other[1]); err != nil {
			t.Errorf("%v: %v", other, err)
		}
	}
}
