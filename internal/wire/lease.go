// Package wire owns the conversion between the types of package interrex and the
// messages of the API, in both directions.
//
// A function named after a type returns its message; with the prefix From it converts
// the message back. Conversion reports a malformed field as ErrInvalid; whether a
// value is allowed is checked by the code that uses it.
package wire

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// leaseMessage is the memory of a message and of those that it points to: a list has a
// thousand of them.
type leaseMessage struct {
	lease                 interrexv1.Lease
	ttl, remaining        durationpb.Duration
	acquiredAt, expiresAt timestamppb.Timestamp
	waiting               uint32
}

// Lease returns the message of a lease. For a pinned lease, which does not expire,
// it has neither expires_at nor remaining.
func Lease(l interrex.Lease) *interrexv1.Lease {
	in := &leaseMessage{}
	m := &in.lease
	m.Key, m.Holder, m.Token, m.Metadata = l.Key.String(), l.Holder, uint64(l.Token), l.Metadata
	m.AcquiredAt = timestampIn(&in.acquiredAt, l.AcquiredAt)
	if l.TTL != 0 {
		m.Ttl = durationIn(&in.ttl, l.TTL)
	}
	if !l.Pinned() && l.TTL > 0 { // a lease as it was has neither
		m.ExpiresAt = timestampIn(&in.expiresAt, l.ExpiresAt)
		m.Remaining = durationIn(&in.remaining, l.Remaining)
	}
	for _, p := range l.Pins {
		m.Pins = append(m.Pins, &interrexv1.Pin{Owner: p.Owner, Reason: p.Reason, Until: Timestamp(p.Until)})
	}
	if l.Waiting != nil {
		in.waiting = Count(*l.Waiting)
		m.Waiting = &in.waiting
	}
	return m
}

// FromLease converts a lease; nil is the zero Lease.
func FromLease(m *interrexv1.Lease) (interrex.Lease, error) {
	if m == nil {
		return interrex.Lease{}, nil
	}
	var r Reader
	l := interrex.Lease{
		Key:        r.Key(m.Key),
		Holder:     m.Holder,
		Token:      interrex.Token(m.Token),
		TTL:        r.Duration("ttl", m.Ttl),
		AcquiredAt: r.Time("acquired_at", m.AcquiredAt),
		Remaining:  r.Duration("remaining", m.Remaining),
		ExpiresAt:  r.Time("expires_at", m.ExpiresAt),
		Metadata:   m.Metadata,
	}
	for _, p := range m.Pins {
		l.Pins = append(l.Pins, interrex.Pin{Owner: p.GetOwner(), Reason: p.GetReason(), Until: r.Time("pins.until", p.GetUntil())})
	}
	if m.Waiting != nil {
		n := int(*m.Waiting)
		l.Waiting = &n
	}
	return l, r.Err
}

// LeaseDifference returns the message of a difference.
func LeaseDifference(d interrex.LeaseDifference) *interrexv1.DiffItem {
	m := &interrexv1.DiffItem{Key: d.Key.String()}
	if d.Before != nil {
		m.Before = Lease(*d.Before)
	}
	if d.After != nil {
		m.After = Lease(*d.After)
	}
	return m
}

// FromLeaseDifference converts a difference.
func FromLeaseDifference(m *interrexv1.DiffItem) (interrex.LeaseDifference, error) {
	var in Reader
	d := interrex.LeaseDifference{Key: in.Key(m.GetKey())}
	for _, side := range []struct {
		from *interrexv1.Lease
		to   **interrex.Lease
	}{{m.GetBefore(), &d.Before}, {m.GetAfter(), &d.After}} {
		if side.from != nil {
			l, err := FromLease(side.from)
			in.Fail(err)
			*side.to = &l
		}
	}
	return d, in.Err
}

// PastLease returns the message of one entry of a key's history.
func PastLease(p interrex.PastLease) *interrexv1.HistoryItem {
	return &interrexv1.HistoryItem{
		Holder:     p.Holder,
		Token:      uint64(p.Token),
		AcquiredAt: Timestamp(p.AcquiredAt),
		EndedAt:    Timestamp(p.EndedAt),
		How:        string(p.How),
	}
}

// FromPastLease converts one entry of a key's history.
func FromPastLease(m *interrexv1.HistoryItem) (interrex.PastLease, error) {
	var r Reader
	p := interrex.PastLease{
		Holder:     m.GetHolder(),
		Token:      interrex.Token(m.GetToken()),
		AcquiredAt: r.Time("acquired_at", m.GetAcquiredAt()),
		EndedAt:    r.Time("ended_at", m.GetEndedAt()),
		How:        interrex.Ending(m.GetHow()),
	}
	return p, r.Err
}

// LeaseEvent returns the message of an event. The event that ends a snapshot has no
// lease.
func LeaseEvent(e interrex.LeaseEvent) *interrexv1.LeaseEvent {
	m := &interrexv1.LeaseEvent{Kind: e.Kind, Revision: uint64(e.Revision), Time: Timestamp(e.Time)}
	if e.Kind != interrex.EndOfSnapshot {
		m.Lease = Lease(e.Lease)
	}
	return m
}

// FromLeaseEvent converts an event.
func FromLeaseEvent(m *interrexv1.LeaseEvent) (interrex.LeaseEvent, error) {
	l, err := FromLease(m.GetLease())
	var in Reader
	in.Fail(err)
	e := interrex.LeaseEvent{Kind: m.GetKind(), Lease: l, Revision: interrex.Revision(m.GetRevision()), Time: in.Time("time", m.GetTime())}
	return e, in.Err
}

// Timestamp returns the message of a time, nil for the zero time.
func Timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timestampIn is Timestamp in the memory of m.
func timestampIn(m *timestamppb.Timestamp, t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	m.Seconds, m.Nanos = t.Unix(), int32(t.Nanosecond())
	return m
}

// durationIn returns the message of a duration, in the memory of m.
func durationIn(m *durationpb.Duration, d time.Duration) *durationpb.Duration {
	m.Seconds, m.Nanos = int64(d/time.Second), int32(d%time.Second)
	return m
}

// Optional returns the message of a duration, nil for zero.
func Optional(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// Count converts a number to the nearest uint32.
func Count(n int) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// Fence returns the message of a fence, nil for the zero Fence.
func Fence(f interrex.Fence) *interrexv1.Fence {
	if f == (interrex.Fence{}) {
		return nil
	}
	return &interrexv1.Fence{Key: f.Key.String(), Token: uint64(f.Token)}
}

// noConsistency is a value that agents refuse.
const noConsistency interrexv1.Consistency = -1

// Consistency converts a consistency. Agents refuse an unknown one.
func Consistency(c interrex.Consistency) interrexv1.Consistency {
	switch c {
	case interrex.Default:
		return interrexv1.Consistency_CONSISTENCY_UNSPECIFIED
	case interrex.Eventual:
		return interrexv1.Consistency_CONSISTENCY_EVENTUAL
	case interrex.Strong:
		return interrexv1.Consistency_CONSISTENCY_STRONG
	}
	return noConsistency
}

// Millis converts a duration to milliseconds, rounded up, so that a remaining time
// is never 0.
func Millis(d time.Duration) uint32 {
	return uint32(max(1, (d+time.Millisecond-1)/time.Millisecond))
}
