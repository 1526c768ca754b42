package lease_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

// model is the rules of leases, read aloud: maps, scans and sorts.
type model struct {
	revision interrex.Revision
	now      state.Time
	paused   state.Time
	leases   map[interrex.Key]lease.Record
	past     map[interrex.Key][]interrex.PastLease
	ended    map[interrex.Key]state.Time
	events   []seenEvent
}

// seenEvent is what matters of an event.
type seenEvent struct {
	Revision interrex.Revision
	Kind     string
	Record   lease.Record
}

func newModel() *model {
	return &model{
		leases: map[interrex.Key]lease.Record{},
		past:   map[interrex.Key][]interrex.PastLease{},
		ended:  map[interrex.Key]state.Time{},
	}
}

func (m *model) clone() *model {
	c := *m
	c.leases, c.past, c.ended, c.events = maps.Clone(m.leases), maps.Clone(m.past), maps.Clone(m.ended), nil
	return &c
}

// do does a command; the kind says why not.
func (m *model) do(c command) (lease.Reply, interrex.Kind) {
	switch c := c.(type) {
	case *lease.Claim:
		return m.claim(c)
	case *lease.Extend:
		return m.extend(c)
	case *lease.Revoke:
		return m.revoke(c)
	case *lease.Transfer:
		return m.transfer(c)
	case *lease.Pin:
		return m.pin(c)
	case *lease.Unpin:
		return m.unpin(c)
	}
	panic("no command")
}

// refuses says why commands are not done together: one of them is refused in its
// turn, or names what another has named. It leaves the model somewhere in between.
func (m *model) refuses(all []command) interrex.Kind {
	named := map[interrex.Key][]string{} // by key the owners of pins; "": no pin
	for _, c := range all {
		k, owner := c.About().Key, ""
		switch c := c.(type) {
		case *lease.Pin:
			owner = c.Owner
		case *lease.Unpin:
			owner = c.Owner
		}
		if before := named[k]; len(before) > 0 && (owner == "" || slices.Contains(before, "") || slices.Contains(before, owner)) {
			return interrex.ErrInvalid
		}
		named[k] = append(named[k], owner)
		if _, kind := m.do(c); kind != "" {
			return kind
		}
	}
	return ""
}

func (m *model) wall() time.Time { return epoch.Add(time.Duration(m.now)) }

func (m *model) isDue(l lease.Record) bool { return m.now >= l.Expiry && len(l.Pins) == 0 }

func (m *model) claim(c *lease.Claim) (lease.Reply, interrex.Kind) {
	if m.now < m.paused {
		return lease.Reply{}, interrex.ErrUnavailable
	}
	l, there := m.leases[c.Key]
	if there && !m.isDue(l) && !(c.Takeover && l.Holder == c.Holder) {
		return lease.Reply{}, interrex.ErrHeld
	}
	if there && m.isDue(l) {
		m.end(l, interrex.EndExpired, interrex.LeaseExpired)
		there = false
	}
	next := lease.Record{Key: c.Key, Holder: c.Holder, TTL: c.TTL, Metadata: c.Metadata, Expiry: m.now.Add(c.TTL)}
	kind := interrex.LeaseClaimed
	if there {
		kind = interrex.LeaseTakenOver
		m.remember(l, interrex.EndTakenOver)
		next.Pins, next.Expiry = l.Pins, max(next.Expiry, l.Expiry)
	}
	return lease.Reply{Lease: m.grant(next, kind), Granted: true}, ""
}

func (m *model) extend(c *lease.Extend) (lease.Reply, interrex.Kind) {
	l, ok := m.leases[c.Key]
	if !ok || l.Token != c.Token {
		return lease.Reply{}, interrex.ErrNotHeld
	}
	m.revision++
	left := max(l.Expiry.Sub(m.now), 0)
	l.Expiry = max(l.Expiry, m.now.Add(cmp.Or(c.TTL, l.TTL)))
	m.leases[c.Key] = l
	return lease.Reply{Lease: l, Extended: true, Left: left}, ""
}

func (m *model) revoke(c *lease.Revoke) (lease.Reply, interrex.Kind) {
	l, ok := m.leases[c.Key]
	switch {
	case c.Force && !ok:
		return lease.Reply{}, interrex.ErrNotFound
	case c.Force:
		m.end(l, interrex.EndForced, interrex.LeaseForced)
		return lease.Reply{Lease: l, Ended: true, HolderUntil: l.Expiry}, ""
	case !ok || l.Token != c.Token:
		return lease.Reply{}, interrex.ErrNotHeld
	}
	m.end(l, interrex.EndReleased, interrex.LeaseReleased)
	return lease.Reply{Lease: l, Ended: true}, ""
}

func (m *model) transfer(c *lease.Transfer) (lease.Reply, interrex.Kind) {
	l, ok := m.leases[c.Key]
	if !ok || l.Token != c.Token {
		return lease.Reply{}, interrex.ErrNotHeld
	}
	m.remember(l, interrex.EndTransferred)
	l.Holder, l.TTL = c.To, cmp.Or(c.TTL, l.TTL)
	l.Expiry = max(l.Expiry, m.now.Add(l.TTL))
	return lease.Reply{Lease: m.grant(l, interrex.LeaseTransferred)}, ""
}

func (m *model) pin(c *lease.Pin) (lease.Reply, interrex.Kind) {
	l, ok := m.leases[c.Key]
	if !ok {
		return lease.Reply{}, interrex.ErrNotFound
	}
	pins := without(l.Pins, c.Owner)
	if len(pins) == lease.MaxPins {
		return lease.Reply{}, interrex.ErrConflict
	}
	pin := lease.PinRecord{Owner: c.Owner, Reason: c.Reason}
	if c.For > 0 {
		pin.Until = m.now.Add(c.For)
	}
	l.Pins = append(pins, pin)
	slices.SortFunc(l.Pins, func(a, b lease.PinRecord) int { return cmp.Compare(a.Owner, b.Owner) })
	m.change(l, interrex.LeasePinned)
	return lease.Reply{Lease: l}, ""
}

func (m *model) unpin(c *lease.Unpin) (lease.Reply, interrex.Kind) {
	l, ok := m.leases[c.Key]
	if !ok || len(without(l.Pins, c.Owner)) == len(l.Pins) {
		return lease.Reply{}, interrex.ErrNotFound
	}
	l.Pins = without(l.Pins, c.Owner)
	m.change(l, interrex.LeaseUnpinned)
	if !m.isDue(l) {
		return lease.Reply{Lease: l}, ""
	}
	m.end(l, interrex.EndExpired, interrex.LeaseExpired)
	return lease.Reply{Lease: l, Ended: true}, ""
}

func without(pins []lease.PinRecord, owner string) []lease.PinRecord {
	var out []lease.PinRecord
	for _, p := range pins {
		if p.Owner != owner {
			out = append(out, p)
		}
	}
	return out
}

// tick lifts pins, then ends leases, one after another.
func (m *model) tick(limit int) int {
	n := 0
	for ; n < limit; n++ {
		k, owner, ok := m.nextLapse()
		if !ok {
			break
		}
		l := m.leases[k]
		l.Pins = without(l.Pins, owner)
		m.change(l, interrex.LeaseUnpinned)
	}
	for ; n < limit; n++ {
		due := slices.DeleteFunc(slices.Collect(maps.Values(m.leases)), func(l lease.Record) bool { return !m.isDue(l) })
		if len(due) == 0 {
			break
		}
		m.end(slices.MinFunc(due, func(a, b lease.Record) int {
			return cmp.Or(cmp.Compare(a.Expiry, b.Expiry), a.Key.Compare(b.Key))
		}), interrex.EndExpired, interrex.LeaseExpired)
	}
	return n
}

// recover ends everything and grants nothing for a while.
func (m *model) recover() {
	pause := 30 * time.Second
	for _, k := range slices.SortedFunc(maps.Keys(m.leases), interrex.Key.Compare) {
		l := m.leases[k]
		pause = max(pause, l.TTL, l.Expiry.Sub(m.now))
		m.end(l, interrex.EndForced, interrex.LeaseForced)
	}
	m.paused = max(m.paused, m.now.Add(pause))
}

// nextLapse returns the pin that is over first, by time, key and owner.
func (m *model) nextLapse() (k interrex.Key, owner string, ok bool) {
	var until state.Time
	for _, l := range m.leases {
		for _, p := range l.Pins {
			if p.Until == 0 || p.Until > m.now {
				continue
			}
			if !ok || cmp.Or(cmp.Compare(p.Until, until), l.Key.Compare(k), cmp.Compare(p.Owner, owner)) < 0 {
				k, owner, until, ok = l.Key, p.Owner, p.Until, true
			}
		}
	}
	return k, owner, ok
}

// due is the earliest time at which something ends.
func (m *model) due() (at state.Time, ok bool) {
	take := func(t state.Time) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	for _, l := range m.leases {
		if len(l.Pins) == 0 {
			take(l.Expiry)
		}
		for _, p := range l.Pins {
			if p.Until != 0 {
				take(p.Until)
			}
		}
	}
	return at, ok
}

func (m *model) change(l lease.Record, kind string) {
	m.revision++
	m.leases[l.Key] = l
	m.events = append(m.events, seenEvent{m.revision, kind, l})
}

func (m *model) grant(l lease.Record, kind string) lease.Record {
	l.Token, l.Acquired = interrex.Token(m.revision+1), m.wall()
	m.change(l, kind)
	return l
}

func (m *model) end(l lease.Record, how interrex.Ending, kind string) {
	m.remember(l, how)
	m.change(l, kind)
	delete(m.leases, l.Key)
}

func (m *model) remember(l lease.Record, how interrex.Ending) {
	m.past[l.Key] = append(m.past[l.Key], interrex.PastLease{
		Holder: l.Holder, Token: l.Token, AcquiredAt: l.Acquired, EndedAt: m.wall(), How: how,
	})
	m.ended[l.Key] = m.now
}

// forget drops histories whose last ending is a day ago.
func (m *model) forget() {
	for k, at := range m.ended {
		if m.now.Sub(at) >= 24*time.Hour {
			delete(m.ended, k)
			delete(m.past, k)
		}
	}
}

func (m *model) history(k interrex.Key) []interrex.PastLease {
	out := slices.Clone(m.past[k])
	if l, ok := m.leases[k]; ok {
		out = append(out, interrex.PastLease{Holder: l.Holder, Token: l.Token, AcquiredAt: l.Acquired})
	}
	return out[max(0, len(out)-16):]
}
