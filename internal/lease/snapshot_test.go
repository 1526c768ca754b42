package lease_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Under the race detector this shows that a view may be written while the table
// goes on.
func TestViewIsWrittenBesideFurtherChanges(t *testing.T) {
	w := newWorld(t)
	const n = 500
	for i := range n {
		w.run((&lease.Claim{Key: key(fmt.Sprint("k", i)), Holder: "ann", TTL: time.Second}).Append(nil))
		w.run((&lease.Claim{Key: key(fmt.Sprint("k", i)), Holder: "ann", TTL: time.Second, Takeover: true}).Append(nil))
	}
	want := w.snapshot()
	view := w.table.Freeze()
	got := make(chan []byte)
	go func() { got <- written(view) }()
	for i := range n {
		k, token := key(fmt.Sprint("k", i)), interrex.Token(2*i+2)
		w.run((&lease.Extend{Key: k, Token: token, TTL: time.Minute}).Append(nil))
		w.run((&lease.Pin{Key: k, Owner: "ops"}).Append(nil))
		w.run((&lease.Unpin{Key: k, Owner: "ops"}).Append(nil))
		w.run((&lease.Revoke{Key: k, Token: token}).Append(nil))
	}
	if !bytes.Equal(<-got, want) {
		t.Error("the view has what came after it")
	}
	view.Release()
}

func TestExtendAllocatesItsReplyAndNothingElse(t *testing.T) {
	w := newWorld(t)
	w.table.Freeze().Release()
	w.run((&lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Second}).Append(nil))
	c := must(w.check((&lease.Extend{Key: key("db"), Token: 1}).Append(nil)))
	if allocs := testing.AllocsPerRun(100, func() {
		w.now++
		w.table.Apply(&state.Turn{Revision: 2, Now: w.now, Table: machine.LeaseTable}, c)
	}); allocs > 2 { // one of them is this Turn
		t.Errorf("%v allocations", allocs-1)
	}
}
