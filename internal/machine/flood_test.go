package machine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// Whatever one caller does, others keep their names and records, open new names, and
// what is kept stays small.
func TestAFloodHurtsOnlyItsCaller(t *testing.T) {
	flood := 100_000
	if testing.Short() {
		flood = 70_000
	}
	r := testreplica.New(t, leased)
	good := nameOf(t, r.Do(1, opening("", "1.1.1.1", 1))[0])
	claim := func(name string, number int, key, holder string, c lease.Claim) state.Operation {
		c.Key, c.Holder = interrex.Key{Namespace: "default", Name: key}, holder
		if c.TTL == 0 {
			c.TTL = time.Minute
		}
		op := onLease(&c)
		op.Origin, op.RequestID, op.Mark = "6.6.6.6", fmt.Sprint(name, ".", number), 1
		return op
	}
	mine := claim(good, 1, "mine", "ann", lease.Claim{TTL: time.Hour})
	wantKinds(t, r.Do(1, mine, claim("", 0, "taken", "ann", lease.Claim{TTL: time.Hour})), "", "")
	many := func(n int, op func(i int) state.Operation) {
		now := r.State.Now()
		for i := 0; i < n; i += 100 {
			var ops []state.Operation
			for j := i; j < i+100; j++ {
				ops = append(ops, op(j))
			}
			now = now.Add(time.Millisecond)
			r.Do(now, ops...)
		}
	}
	before := r.State.Revision()
	many(flood, func(i int) state.Operation { return claim(fmt.Sprint("n", i), 1, "taken", "eve", lease.Claim{}) })
	if kept, _ := r.State.Names(); kept != 1 || r.State.Revision() != before {
		t.Errorf("refused claims under made-up names leave %d names", kept)
	}

	metadata, err := codec.NewMetadata(map[string]string{"m": strings.Repeat("x", 4000)})
	if err != nil {
		t.Fatal(err)
	}
	var evil []string
	for i := range 100 {
		evil = append(evil, nameOf(t, r.Do(r.State.Now(), opening("", "6.6.6.6", uint64(i+1)))[0]))
	}
	r.Do(r.State.Now(), claim("", 0, "over", "eve", lease.Claim{}))
	many(flood/4, func(i int) state.Operation {
		return claim(evil[i%100], 1+i/100, "over", "eve", lease.Claim{Takeover: true, Metadata: metadata})
	})
	if n := len(r.Snapshot()); n > flood*10 {
		t.Errorf("a snapshot with %d records has %d bytes", flood/4, n)
	}

	many(flood, func(i int) state.Operation { return opening("", "6.6.6.6", uint64(1000+i)) })
	if kept, limit := r.State.Names(); kept != limit {
		t.Errorf("%d names of %d", kept, limit)
	}
	res := r.Do(r.State.Now(), opening("", "6.6.6.6", 1<<40), opening("", "1.1.1.1", 2), opening("", "2.2.2.2", 1), opening("bob", "", 1), mine)
	wantKinds(t, res, interrex.ErrOverloaded, "", "", "", "")
	if !res[4].Replayed {
		t.Errorf("a good caller's record is gone: %+v", res[4])
	}
}
