package listener

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var from = netip.MustParseAddr("10.0.0.1")

func TestAPeerThatResetsItsRequestsIsReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all wasters
		var c waste
		for i := range wasteBurst {
			if d := c.note(&all, from); d != 0 {
				t.Fatalf("one that resets %d requests is slowed down for %s", i, d)
			}
		}
		var slow time.Duration
		for range 50 {
			slow = c.note(&all, from)
		}
		if want := time.Second / 2; slow != want {
			t.Errorf("it is slow for %s, want %s", slow, want)
		}
		for range 10 * wasteBurst {
			slow = c.note(&all, from)
		}
		if want := 10 * time.Second; slow != want {
			t.Errorf("it is slow for %s, at most %s is meant", slow, want)
		}
		time.Sleep(time.Minute)
		if d := c.note(&all, from); d != 0 {
			t.Errorf("a minute later it is slowed down for %s", d)
		}
	})
}

func TestAnotherConnectionFromOneAddressMayResetNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all wasters
		var first, second, honest, elsewhere waste
		for range 2 * wasteBurst {
			first.note(&all, from)
		}
		for i := range spareBurst {
			if d := second.note(&all, from); d != 0 {
				t.Fatalf("it is slowed down at once, after %d resets, for %s", i, d)
			}
		}
		if d := second.note(&all, from); d != 10*time.Second {
			t.Errorf("another connection is slow for %s", d)
		}
		if d := elsewhere.note(&all, from.Next()); d != 0 {
			t.Errorf("one from another address is slowed down for %s", d)
		}
		for range 100 { // it cancels a request now and then, while the address goes on
			for range wasteRate {
				first.note(&all, from)
			}
			time.Sleep(time.Second)
			if d := honest.note(&all, from); d != 0 {
				t.Fatalf("an honest peer on the same address is slowed down for %s", d)
			}
		}
	})
}

func TestTheCallersOfTheSocketAreNotOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all wasters
		var first, second waste
		for range 2 * wasteBurst {
			first.note(&all, netip.Addr{})
		}
		for range wasteBurst {
			if d := second.note(&all, netip.Addr{}); d != 0 {
				t.Fatalf("slowed down for %s", d)
			}
		}
	})
}

func TestOfManyAddressesOnlySomeAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all wasters
		address := func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i))))
		}
		for i := range maxWasters + 10 {
			for range 200 {
				all.note(address(i), time.Now())
			}
		}
		if n := len(all.from); n != maxWasters {
			t.Errorf("%d are counted", n)
		}
		time.Sleep(time.Second)
		if all.note(address(maxWasters), time.Now()); len(all.from) != maxWasters {
			t.Errorf("%d are counted while the others are not forgiven", len(all.from))
		}
		time.Sleep(2 * time.Second)
		if all.note(address(maxWasters), time.Now()); len(all.from) != 1 {
			t.Errorf("%d are counted when they are", len(all.from))
		}
	})
}
