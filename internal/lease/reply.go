package lease

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Reply is the reply to an applied command; *Reply is the table's state.Reply. It
// is immutable.
type Reply struct {
	// Lease is the lease after the command; as it was last when Ended. In a repeated
	// reply it is the lease now, or only its key and token when Ended.
	Lease Record
	// Granted is set for a claim: only then Kept requires that the token is still in
	// force.
	Granted bool
	// Ended is set if the command ended the lease: a revoke, or the unpin of an
	// overdue lease's last pin. In a repeated reply it is set if the lease has ended.
	Ended bool
	// HolderUntil is, after a forced revoke, the time until which the holder may
	// believe by its own deadline that it holds the lease; else 0.
	HolderUntil state.Time
	// Extended is set for an extend, and Left is the time that was left before the
	// lease would have expired.
	Extended bool
	Left     time.Duration
}

// Renewal returns the time that was left when a lease was extended; false if it was
// not extended, or is pinned, and so does not expire.
func (r *Reply) Renewal() (left time.Duration, is bool) {
	return r.Left, r.Extended && len(r.Lease.Pins) == 0
}

const (
	flagGranted = 1 << iota
	flagEnded
	flagsEnd // unknown bits begin here
)

// kept is what the record of a request id stores of a Reply. The lease itself, with
// its metadata, is looked up when the reply is repeated.
type kept struct {
	granted, ended bool
	token          interrex.Token
	holderUntil    state.Time
}

// Keep is part of the interface that makes recorded replies again.
func (t *Table) Keep(r state.Reply) state.Reply {
	reply := r.(*Reply)
	return &kept{granted: reply.Granted, ended: reply.Ended, token: reply.Lease.Token, holderUntil: reply.HolderUntil}
}

// Kept makes the reply to a command again. It refuses, as ErrNotHeld, to repeat the
// grant of a claim whose token is no longer in force: its caller would work under a
// lease that has ended. Every other reply only reports what was done, which stays true.
func (t *Table) Kept(c state.Command, r state.Reply) (state.Reply, error) {
	k, key := r.(*kept), c.About().Key
	reply := &Reply{Lease: Record{Key: key, Token: k.token}, Granted: k.granted, Ended: true, HolderUntil: k.holderUntil}
	l, held := t.rows.Get(join(key))
	held = held && l.token == k.token
	switch {
	case k.granted && !held:
		return nil, interrex.Errorf(interrex.ErrNotHeld, "cannot repeat the grant of %s under token %d: that lease has since ended; claim it again with a new request id", key, k.token)
	case held && !k.ended:
		reply.Lease, reply.Ended = l.record(), false
	}
	return reply, nil
}

// AppendReply encodes what Keep returns of a reply.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	if _, whole := r.(*Reply); whole {
		r = t.Keep(r)
	}
	k := r.(*kept)
	var flags uint64
	if k.granted {
		flags |= flagGranted
	}
	if k.ended {
		flags |= flagEnded
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendVarint(b, int64(k.holderUntil))
	return binary.AppendUvarint(b, uint64(k.token))
}

// DecodeReply reads what AppendReply wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := codec.NewDecoder(string(b))
	flags := d.Uvarint()
	k := &kept{granted: flags&flagGranted != 0, ended: flags&flagEnded != 0, holderUntil: state.Time(d.Varint()), token: interrex.Token(d.Uvarint())}
	if !d.Done() || flags >= flagsEnd {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode lease reply: it is malformed")
	}
	return k, nil
}

func appendRecord(b []byte, r Record) []byte {
	b = codec.AppendText(codec.AppendKey(b, r.Key), r.Holder)
	b = binary.AppendUvarint(b, uint64(r.Token))
	b = binary.AppendUvarint(b, uint64(r.TTL))
	b = binary.AppendVarint(b, wallNanos(r.Acquired))
	b = binary.AppendVarint(b, int64(r.Expiry))
	b = codec.AppendText(b, r.Metadata.Packed())
	b = binary.AppendUvarint(b, uint64(len(r.Pins)))
	for _, p := range r.Pins {
		b = codec.AppendText(codec.AppendText(b, p.Owner), p.Reason)
		b = binary.AppendVarint(b, int64(p.Until))
	}
	return b
}

// readRecord reads what appendRecord wrote. Its texts share memory with the input.
func readRecord(d *codec.Decoder) Record {
	r := Record{
		Key: d.Key(), Holder: d.Text(), Token: interrex.Token(d.Uvarint()), TTL: d.Duration(),
		Acquired: wallTime(d.Varint()), Expiry: state.Time(d.Varint()),
		Metadata: codec.UnpackedMetadata(d.Text()),
	}
	pins := d.Uvarint()
	if pins > MaxPins {
		d.Fail()
	}
	for range pins {
		if d.Failed() {
			break
		}
		r.Pins = append(r.Pins, PinRecord{Owner: d.Text(), Reason: d.Text(), Until: state.Time(d.Varint())})
	}
	return r
}
