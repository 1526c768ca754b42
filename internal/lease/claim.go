package lease

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// Claim requests a lease that is free, or that its holder has already.
type Claim struct {
	Key      interrex.Key
	Holder   string
	TTL      time.Duration
	Takeover bool
	Metadata codec.Metadata
}

// About is part of state.Command.
func (c *Claim) About() state.About {
	return state.About{Name: "claim", Key: c.Key, Holder: c.Holder}
}

// Announce is part of state.Announcer.
func (c *Claim) Announce() state.Announcement {
	if c.Takeover { // of a free lease it is a claim
		return state.Announcement{Kinds: []string{interrex.LeaseTakenOver, interrex.LeaseClaimed}, Key: c.Key.String()}
	}
	return state.Announcement{Kinds: []string{interrex.LeaseClaimed}, Key: c.Key.String()}
}

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Claim) Validate() error {
	if err := validation.Holder(c.Holder); err != nil {
		return err
	}
	if err := interrex.ValidateTTL(c.TTL); err != nil {
		return err
	}
	return c.Metadata.Validate()
}

// Append encodes the command.
func (c *Claim) Append(b []byte) []byte {
	b = codec.AppendText(codec.AppendKey(append(b, opClaim), c.Key), c.Holder)
	b = codec.AppendBool(binary.AppendUvarint(b, uint64(c.TTL)), c.Takeover)
	return codec.AppendText(b, c.Metadata.Packed())
}

func (c *Claim) decode(d codec.Decoder) codec.Decoder {
	*c = Claim{Key: d.Key(), Holder: d.Text(), TTL: d.Duration(), Takeover: d.Bool(), Metadata: codec.UnpackedMetadata(d.Text())}
	return d
}

func (c *Claim) check(t *Table, now state.Time) *interrex.Error {
	if refusal := t.checkPause(c.Key, now); refusal != nil {
		return refusal
	}
	l, ok := t.rows.Get(join(c.Key))
	if !ok || l.isDue(now) || c.takesOver(l) {
		return nil
	}
	remaining := max(0, l.expiry.Sub(now))
	e := interrex.Errorf(interrex.ErrHeld, "cannot claim %s: %q holds it, for another %s unless it is extended", c.Key, l.holder, wording.Rounded(remaining))
	switch {
	case l.holder == c.Holder:
		e.Message += "; if that is your own predecessor, and it has stopped, claim with takeover"
	case len(l.pins) > 0:
		remaining = 0
		e.Message = interrex.Errorf(interrex.ErrHeld, "cannot claim %s: %q holds it, and a pin of %q keeps it from expiring", c.Key, l.holder, l.pins[0].Owner).Message
	}
	e.Holder, e.HeldSince, e.Remaining = l.holder, wallTime(l.acquired), remaining
	return e
}

// takesOver reports whether the claim is a takeover by the holder of l.
func (c *Claim) takesOver(l *row) bool { return c.Takeover && l.holder == c.Holder }

// weigh is part of weighing.
func (c *Claim) weigh(t *Table, sum *capacity.Load) {
	sum.Bytes += int64(len(join(c.Key)) + len(c.Holder) + len(c.Metadata.Packed()))
	l, there := t.rows.Get(join(c.Key))
	if !there {
		sum.Count++
		return
	}
	sum.Bytes -= l.weight()
	for _, p := range l.pins { // which a takeover keeps
		sum.Bytes += p.weight()
	}
}

func (c *Claim) apply(t *Table, turn *state.Turn) *Reply {
	old, there := t.rows.Get(join(c.Key))
	if there && old.isDue(turn.Now) {
		t.end(turn, old, interrex.EndExpired)
		turn.Next()
		there = false
	}
	l := newRow(c.Key, c.Holder)
	l.metadata = c.Metadata.Clone()
	l.ttl = c.TTL
	if !there {
		t.grant(turn, l)
		t.insert(l)
		return c.granted(turn, interrex.LeaseClaimed, l)
	}
	t.succeed(turn, old, l, interrex.EndTakenOver)
	return c.granted(turn, interrex.LeaseTakenOver, l)
}

// granted answers and publishes the claim.
func (c *Claim) granted(turn *state.Turn, kind string, l *row) *Reply {
	reply := &Reply{Lease: l.record(), Granted: true}
	emit(turn, kind, reply.Lease)
	return reply
}
