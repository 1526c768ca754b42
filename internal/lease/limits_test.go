package lease_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

// limit sets the limits of the world's table.
func (w *world) limit(count, bytes int) {
	values := map[string]string{"leases.max-count": fmt.Sprint(count), "leases.max-bytes": fmt.Sprint(bytes)}
	for _, s := range w.table.Settings() {
		if err := s.Check(values[s.Name]); err != nil {
			w.t.Fatal(err)
		}
	}
	w.table.Configure(func(name string) string { return values[name] })
}

func (w *world) kindOf(c command) interrex.Kind {
	_, err := w.do(c)
	return interrex.KindOf(err)
}

func claimOf(name string) *lease.Claim {
	return &lease.Claim{Key: key("jobs/" + name), Holder: "ann", TTL: time.Minute}
}

func TestLeasesHaveALimitInNumber(t *testing.T) {
	w := newWorld(t)
	w.limit(2, 1<<20)
	first := must(w.do(claimOf("one"))).Lease
	must(w.do(claimOf("two")))
	if k := w.kindOf(claimOf("three")); k != interrex.ErrOverloaded {
		t.Errorf("a third one: %q", k)
	}
	if k := w.kindOf(claimOf("one")); k != interrex.ErrHeld {
		t.Errorf("one that is held: %q", k)
	}
	again := claimOf("one")
	again.Takeover = true
	first = must(w.do(again)).Lease
	for name, c := range map[string]command{
		"an extend":  &lease.Extend{Key: first.Key, Token: first.Token},
		"a pin":      &lease.Pin{Key: first.Key, Owner: "op"},
		"an unpin":   &lease.Unpin{Key: key("jobs/two"), Owner: "op"},
		"a transfer": &lease.Transfer{Key: key("jobs/two"), Token: 2, To: "bob"},
	} {
		if k := w.kindOf(c); k == interrex.ErrOverloaded {
			t.Errorf("%s is %q", name, k)
		}
	}
	if _, err := w.group(&lease.Revoke{Key: first.Key, Token: first.Token}, claimOf("three")); err != nil {
		t.Errorf("one for another: %v", err)
	}
	if _, err := w.group(&lease.Revoke{Key: key("jobs/three"), Force: true}, claimOf("four"), claimOf("five")); interrex.KindOf(err) != interrex.ErrOverloaded {
		t.Errorf("two for another: %v", err)
	}
	w.now += state.Time(time.Hour)
	if k := w.kindOf(claimOf("three")); k != "" {
		t.Errorf("one that is due is %q", k)
	}
}

func TestLeasesHaveALimitInBytes(t *testing.T) {
	w := newWorld(t)
	w.limit(1000, 2048)
	big := claimOf("big")
	big.Metadata = must(codec.NewMetadata(map[string]string{"text": strings.Repeat("x", 2040)}))
	if k := w.kindOf(big); k != interrex.ErrOverloaded {
		t.Errorf("metadata beyond it: %q", k)
	}
	must(w.do(claimOf("big")))
	big.Takeover = true
	if k := w.kindOf(big); k != interrex.ErrOverloaded {
		t.Errorf("a takeover that adds metadata beyond it: %q", k)
	}
	reason := strings.Repeat("x", 1000)
	must(w.do(&lease.Pin{Key: big.Key, Owner: "a", Reason: reason}))
	must(w.do(&lease.Pin{Key: big.Key, Owner: "a", Reason: reason}))
	if _, err := w.group(&lease.Pin{Key: big.Key, Owner: "b", Reason: reason[:600]}, &lease.Pin{Key: big.Key, Owner: "c", Reason: reason[:600]}); interrex.KindOf(err) != interrex.ErrOverloaded {
		t.Errorf("the pins of a group: %v", err)
	}
	if k := w.kindOf(&lease.Pin{Key: big.Key, Owner: "b", Reason: reason[:600]}); k != "" {
		t.Errorf("one of them is %q", k)
	}
	if used := w.table.Usage(); used.Count != 1 || used.MaxCount != 1000 || used.MaxBytes != 2048 || used.Bytes != int64(len("jobs/big")+len("ann")+2+1600) {
		t.Errorf("it uses %+v", used)
	}
}

// A transfer changes how long the holder is, and nothing else that counts.
func TestATransferToALongerHolderNeedsRoom(t *testing.T) {
	w := newWorld(t)
	l := must(w.do(claimOf("one"))).Lease
	used := w.table.Usage().Bytes
	w.limit(1000, 1024)
	filler := claimOf("two")
	filler.Key.Namespace = "other"
	filler.Metadata = must(codec.NewMetadata(map[string]string{"text": strings.Repeat("x", 880)}))
	must(w.do(filler))
	left := int(1024 - w.table.Usage().Bytes)
	if left < 10 || left > 200 || used == 0 {
		t.Fatalf("%d bytes are left", left)
	}
	to := func(n int) *lease.Transfer {
		return &lease.Transfer{Key: l.Key, Token: l.Token, To: strings.Repeat("b", n)}
	}
	if k := w.kindOf(to(len("ann") + left + 1)); k != interrex.ErrOverloaded {
		t.Errorf("one byte too many: %q", k)
	}
	for name, c := range map[string]command{
		"an extend": &lease.Extend{Key: l.Key, Token: l.Token},
		"the limit": to(len("ann") + left),
	} {
		if k := w.kindOf(c); k != "" && k != interrex.ErrNotHeld {
			t.Errorf("%s is %q", name, k)
		}
	}
	l, _ = w.table.Get(l.Key)
	if now := w.table.Usage(); now.Bytes != now.MaxBytes {
		t.Fatalf("it uses %+v", now)
	}
	if k := w.kindOf(to(1)); k != "" {
		t.Errorf("to a shorter holder it is %q", k)
	}
}

// A caller that may write to one namespace leaves room for the others.
func TestOneNamespaceDoesNotTakeAllLeases(t *testing.T) {
	w := newWorld(t)
	w.limit(10, 1<<20)
	for n := range 9 {
		must(w.do(claimOf(fmt.Sprint(n))))
	}
	if k := w.kindOf(claimOf("more")); k != interrex.ErrOverloaded {
		t.Errorf("a tenth of one namespace is %q", k)
	}
	other := &lease.Claim{Key: key("other/one"), Holder: "bob", TTL: time.Minute}
	must(w.do(other))
	if k := w.kindOf(&lease.Claim{Key: key("third/one"), Holder: "bob", TTL: time.Minute}); k != interrex.ErrOverloaded {
		t.Errorf("an eleventh is %q", k)
	}
	if got := w.table.Counts(); got["jobs"] != 9 || got["other"] != 1 {
		t.Errorf("it counts %v", got)
	}
	w.restart()
	if k := w.kindOf(&lease.Revoke{Key: other.Key, Force: true}); k != "" {
		t.Errorf("a revoke is %q", k)
	}
	w.limit(10, 1<<20)
	if k := w.kindOf(claimOf("more")); k != interrex.ErrOverloaded {
		t.Errorf("after a restore, a tenth of one namespace is %q", k)
	}
}

// What the limits count is what a restored table has.
func TestTheBytesOfLeasesAreCountedExactly(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test
	w := newWorld(t)
	text := func() string { return strings.Repeat("x", 1+r.IntN(200)) }
	for range 3000 {
		k := key("jobs/" + strings.Repeat("k", 1+r.IntN(8)))
		held, _ := w.table.Get(k)
		owner := fmt.Sprint(r.IntN(4))
		switch r.IntN(8) {
		case 0, 1:
			_, _ = w.do(&lease.Claim{Key: k, Holder: text(), TTL: time.Minute, Metadata: must(codec.NewMetadata(map[string]string{"a": text()}))})
		case 2:
			_, _ = w.do(&lease.Claim{Key: k, Holder: held.Holder, TTL: time.Minute, Takeover: true, Metadata: must(codec.NewMetadata(map[string]string{"a": text()}))})
		case 3, 4:
			_, _ = w.do(&lease.Pin{Key: k, Owner: owner, Reason: text(), For: time.Duration(r.IntN(2)) * 30 * time.Second})
		case 5:
			_, _ = w.do(&lease.Unpin{Key: k, Owner: owner})
		case 6:
			_, _ = w.do(&lease.Transfer{Key: k, Token: held.Token, To: text()})
		default:
			w.now += state.Time(r.IntN(int(20 * time.Second)))
			w.tick(100)
			if r.IntN(4) == 0 {
				_, _ = w.do(&lease.Revoke{Key: k, Force: true})
			}
		}
	}
	used := w.table.Usage()
	w.restart()
	if again := w.table.Usage(); again != used || used.Bytes == 0 {
		t.Errorf("seed %d: it counted %+v, and %+v after a restore", seed, used, again)
	}
}
