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
	// Lease is the lease after the command; as it was last when Ended.
	Lease Record
	// Granted is set for a claim: only then Table.Replay checks that the token is
	// still in force.
	Granted bool
	// Ended is set if the command ended the lease: a revoke, or the unpin of an
	// overdue lease's last pin.
	Ended bool
	// HolderUntil is, after a forced revoke, the time until which the holder may
	// believe by its own deadline that it holds the lease; else 0.
	HolderUntil state.Time
	// Extended is set for an extend, and Left is the time that was left before the
	// lease would have expired. Neither is stored in the records of request ids.
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

// AppendReply encodes a *Reply for the records of request ids.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	reply := r.(*Reply)
	var flags uint64
	if reply.Granted {
		flags |= flagGranted
	}
	if reply.Ended {
		flags |= flagEnded
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendVarint(b, int64(reply.HolderUntil))
	return appendRecord(b, reply.Lease)
}

// DecodeReply reads what AppendReply wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := codec.NewDecoder(string(b))
	flags := d.Uvarint()
	reply := &Reply{
		Granted: flags&flagGranted != 0, Ended: flags&flagEnded != 0,
		HolderUntil: state.Time(d.Varint()), Lease: readRecord(&d),
	}
	if !d.Done() || flags >= flagsEnd {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode lease reply: it is malformed")
	}
	return reply, nil
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
