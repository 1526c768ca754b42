package counters

import (
	"encoding/binary"
	"errors"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// A number takes 8 bytes, and a text is preceded by its length in 2 bytes, so
// equal values have equal bytes.

func appendKey(b []byte, k interrex.Key) []byte {
	return appendText(appendText(b, k.Namespace), k.Name)
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendRecord(b []byte, r Record) []byte {
	b = binary.BigEndian.AppendUint64(appendKey(b, r.Key), r.Value)
	return binary.BigEndian.AppendUint64(b, uint64(r.Expiry))
}

// AppendReply encodes a reply, which is a Record.
func (t *table) AppendReply(b []byte, r state.Reply) []byte { return appendRecord(b, r.(Record)) }

// DecodeReply reads what AppendReply wrote.
func (t *table) DecodeReply(b []byte) (state.Reply, error) {
	d := decoder{rest: b}
	if r := d.record(); d.done() {
		return r, nil
	}
	return nil, errors.New("cannot decode reply of counters: it is malformed")
}

// AppendEvent is part of state.EventCodec, so that watches resume from the feed
// of changes.
func (t *table) AppendEvent(b []byte, value any) []byte { return appendRecord(b, value.(Record)) }

// DecodeEvent reads what AppendEvent wrote.
func (t *table) DecodeEvent(b []byte) (any, error) { return t.DecodeReply(b) }

// decoder reads what the append functions wrote. It returns copies. After the
// first incomplete field everything is zero.
type decoder struct {
	rest   []byte
	failed bool
}

// done reports whether every field was complete and nothing is left.
func (d *decoder) done() bool { return !d.failed && len(d.rest) == 0 }

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.rest, d.failed = nil, true
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) number() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

func (d *decoder) text() string { return string(d.take(int(binary.BigEndian.Uint16(d.take(2))))) }

func (d *decoder) key() interrex.Key { return interrex.Key{Namespace: d.text(), Name: d.text()} }

func (d *decoder) record() Record {
	return Record{Key: d.key(), Value: d.number(), Expiry: state.Time(d.number())}
}
