package lease

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// Pin keeps the lease from expiring, until For is over or its owner unpins. A
// second pin of the same owner replaces reason and time.
type Pin struct {
	Key    interrex.Key
	Owner  string
	Reason string
	For    time.Duration // 0: until its owner unpins
}

// Limits of pins.
const (
	MaxPins   = 16      // of one lease
	MaxReason = 1 << 10 // bytes
)

// MaxPinFor is the longest time after which a pin expires: ten years, so that no
// sum with cluster time overflows. A pin without For has no limit.
const MaxPinFor = 10 * 365 * 24 * time.Hour

// About is part of state.Command.
func (c *Pin) About() state.About { return state.About{Name: "pin", Key: c.Key} }

// Announce is part of state.Announcer.
func (c *Pin) Announce() state.Announcement {
	return state.Announcement{Kinds: []string{interrex.LeasePinned}, Key: c.Key.String()}
}

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Pin) Validate() error {
	if err := validation.Owner(c.Owner); err != nil {
		return err
	}
	if len(c.Reason) > MaxReason {
		return interrex.Errorf(interrex.ErrTooLarge, "reason: at most %d bytes are allowed, not %d", MaxReason, len(c.Reason))
	}
	if !utf8.ValidString(c.Reason) {
		return interrex.Errorf(interrex.ErrInvalid, "reason: %q is not UTF-8", c.Reason)
	}
	if c.For < 0 || c.For > MaxPinFor {
		return interrex.Errorf(interrex.ErrInvalid, "for: 0 s (until unpinned) to %s are allowed, not %v", wording.Rounded(MaxPinFor), c.For)
	}
	return nil
}

// Append encodes the command.
func (c *Pin) Append(b []byte) []byte {
	b = codec.AppendText(codec.AppendKey(append(b, opPin), c.Key), c.Owner)
	return binary.AppendUvarint(codec.AppendText(b, c.Reason), uint64(c.For))
}

func (c *Pin) decode(d codec.Decoder) codec.Decoder {
	*c = Pin{Key: d.Key(), Owner: d.Text(), Reason: d.Text(), For: d.Duration()}
	return d
}

func (c *Pin) check(t *Table, _ state.Time) *interrex.Error {
	if refusal := t.checkThere("pin", c.Key); refusal != nil {
		return refusal
	}
	l, _ := t.rows.Get(join(c.Key))
	if _, renewed := l.pinOf(c.Owner); !renewed && len(l.pins) >= MaxPins {
		return errPins(c.Key, len(l.pins))
	}
	return nil
}

func errPins(k interrex.Key, n int) *interrex.Error {
	return interrex.Errorf(interrex.ErrConflict, "cannot pin %s: it has %d pins, which is the limit: unpin another owner first", k, n)
}

// pinner is part of pinning.
func (c *Pin) pinner() string { return c.Owner }

// pins is part of pinning: a pin of an owner that has one renews it.
func (c *Pin) pins(l *row) int {
	if _, renewed := l.pinOf(c.Owner); renewed {
		return 0
	}
	return 1
}

// weigh is part of weighing.
func (c *Pin) weigh(t *Table, sum *capacity.Load) {
	sum.Bytes += PinRecord{Owner: c.Owner, Reason: c.Reason}.weight() - t.pinned(c.Key, c.Owner)
}

// pinned returns the weight of an owner's pin; 0 if there is none.
func (t *Table) pinned(k interrex.Key, owner string) int64 {
	if l, there := t.rows.Get(join(k)); there {
		if i, has := l.pinOf(owner); has {
			return l.pins[i].weight()
		}
	}
	return 0
}

func (c *Pin) apply(t *Table, turn *state.Turn) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	pin := PinRecord{Owner: strings.Clone(c.Owner), Reason: strings.Clone(c.Reason)}
	t.used.Add(c.Key.Namespace, capacity.Load{Bytes: pin.weight() - t.pinned(c.Key, c.Owner)})
	if c.For > 0 {
		pin.Until = turn.Now.Add(c.For)
	}
	l = t.writable(l)
	i, renewed := l.pinOf(c.Owner)
	l.pins = slices.Clone(l.pins)
	if renewed {
		l.pins[i] = pin
	} else {
		l.pins = slices.Insert(l.pins, i, pin)
	}
	t.reschedule(l)
	reply := &Reply{Lease: l.record()}
	emit(turn, interrex.LeasePinned, reply.Lease)
	return reply
}
