package lease

import (
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Record is a lease as it was at one moment: the value of every lease event, and
// part of every read and reply. It is immutable, and so are its Pins.
type Record struct {
	Key      interrex.Key
	Holder   string
	Token    interrex.Token
	TTL      time.Duration
	Acquired time.Time  // the wall clock (UTC) of the leader that granted it
	Expiry   state.Time // it is due from here on, unless it is pinned
	Metadata codec.Metadata
	Pins     []PinRecord // by owner
}

// PinRecord is a pin as it was at one moment.
type PinRecord struct {
	Owner  string
	Reason string
	Until  state.Time // it expires then; 0: it lasts until its owner unpins
}

// weight is the number of bytes that the limits count.
func (p PinRecord) weight() int64 { return int64(len(p.Owner) + len(p.Reason)) }

// Pinned reports whether a pin keeps the lease from expiring.
func (r Record) Pinned() bool { return len(r.Pins) > 0 }

// Lease returns the lease as users see it, on an agent that estimates cluster time
// as now and whose wall clock is at wall. The remaining time is an estimate, never
// below zero, and absent for a pinned lease: do not compute a deadline from it.
// Waiting is nil.
func (r Record) Lease(now state.Time, wall time.Time) interrex.Lease {
	l := interrex.Lease{
		Key: r.Key, Holder: r.Holder, Token: r.Token, TTL: r.TTL,
		AcquiredAt: r.Acquired, Metadata: r.Metadata.Map(),
	}
	if !r.Pinned() {
		l.Remaining = max(0, r.Expiry.Sub(now))
		l.ExpiresAt = wall.UTC().Add(l.Remaining)
	}
	for _, p := range r.Pins {
		pin := interrex.Pin{Owner: p.Owner, Reason: p.Reason}
		if p.Until != 0 {
			pin.Until = wall.UTC().Add(max(0, p.Until.Sub(now)))
		}
		l.Pins = append(l.Pins, pin)
	}
	return l
}

// size estimates the record's bytes in memory, for the limit of the ring of
// events.
func (r Record) size() int {
	const fixed, pin = 320, 48
	n := fixed + 2*(len(r.Key.Namespace)+len(r.Key.Name)) + len(r.Holder) + len(r.Metadata.Packed())
	for _, p := range r.Pins {
		n += pin + len(p.Owner) + len(p.Reason)
	}
	return n
}
