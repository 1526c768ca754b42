package lease

import (
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// row is a lease as the table stores it: one object and one string.
//
// A frozen view reads its rows while the table changes. So only a row returned by
// Table.writable may be modified, except for place and schedule, which no view reads.
type row struct {
	key      string // as join makes it
	holder   string
	metadata codec.Metadata
	pins     []PinRecord // by owner; never written to, only replaced
	token    interrex.Token
	ttl      time.Duration
	acquired int64 // as wallNanos makes it
	expiry   state.Time
	freezing uint32
	place    int32      // in its schedule
	schedule scheduleID // its schedule
}

// join returns the form of a key that sorts as Key.Compare does: no character of
// a namespace is below or at the separator.
func join(k interrex.Key) string { return k.Namespace + separator + k.Name }

const separator = "\x00"

// split is the reverse of join.
func split(joined string) interrex.Key {
	namespace, name, _ := strings.Cut(joined, separator)
	return interrex.Key{Namespace: namespace, Name: name}
}

// newRow makes a row whose key and holder share one string.
func newRow(k interrex.Key, holder string) *row {
	text := k.Namespace + separator + k.Name + holder
	cut := len(text) - len(holder)
	return &row{key: text[:cut], holder: text[cut:]}
}

func (l *row) namespace() string {
	namespace, _, _ := strings.Cut(l.key, separator)
	return namespace
}

// weight is the number of bytes that the limits count.
func (l *row) weight() int64 {
	n := len(l.key) + len(l.holder) + len(l.metadata.Packed())
	for _, p := range l.pins {
		n += int(p.weight())
	}
	return int64(n)
}

// isDue reports whether the lease has expired: now >= expiry, and no pin.
func (l *row) isDue(now state.Time) bool { return len(l.pins) == 0 && now >= l.expiry }

// pinOf returns the index of an owner's pin, or where to insert it.
func (l *row) pinOf(owner string) (int, bool) {
	return slices.BinarySearchFunc(l.pins, owner, func(p PinRecord, owner string) int {
		return strings.Compare(p.Owner, owner)
	})
}

// firstLapse returns the pin that expires first, of several the first by owner;
// false if none does.
func (l *row) firstLapse() (PinRecord, bool) {
	var first PinRecord
	for _, p := range l.pins {
		if p.Until != 0 && (first.Until == 0 || p.Until < first.Until) {
			first = p
		}
	}
	return first, first.Until != 0
}

// record returns the immutable copy that leaves the table.
func (l *row) record() Record {
	return Record{
		Key: split(l.key), Holder: l.holder, Token: l.token, TTL: l.ttl,
		Acquired: wallTime(l.acquired), Expiry: l.expiry,
		Metadata: l.metadata, Pins: l.pins,
	}
}

// wallNanos packs a wall clock; the zero time is 0.
func wallNanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// wallTime is the reverse of wallNanos, in UTC.
func wallTime(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
