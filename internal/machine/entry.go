package machine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// EntryVersion is the newest version of an entry that this build knows, and
// OldestEntry the oldest. It is the first byte of every entry, and determines how
// Apply interprets it. A leader writes no version that a member does not know.
const (
	EntryVersion = 5
	OldestEntry  = 3
)

// The kinds of an operation.
const (
	kindOne   = 1
	kindGroup = 2
)

// The flags of an operation: the fields of its envelope that follow.
const (
	flagCaller = 1 << iota
	flagRequest
	flagFence
	flagMinted
	flagOrigin
	flagSince
	flagsKnown = flagCaller | flagRequest | flagFence | flagMinted | flagOrigin | flagSince
)

// Entry is one log entry: a batch with one stamp.
type Entry struct {
	Version    byte // of its encoding and of what Apply does with it; 0: EntryVersion
	Stamp      state.Time
	Wall       time.Time
	Operations []state.Operation
}

// Append appends the encoding of e to b. The caller must respect the limits:
// see Operation.Validate and Operation.Size.
func (e *Entry) Append(b []byte) []byte {
	b = append(b, cmp.Or(e.Version, EntryVersion))
	b = binary.AppendVarint(b, int64(e.Stamp))
	b = binary.AppendVarint(b, e.Wall.Unix())
	b = binary.AppendUvarint(b, uint64(e.Wall.Nanosecond()))
	b = binary.AppendUvarint(b, uint64(len(e.Operations)))
	for i := range e.Operations {
		b = appendOperation(b, &e.Operations[i])
	}
	return b
}

func appendOperation(b []byte, o *state.Operation) []byte {
	var flags byte
	if o.Caller != "" {
		flags |= flagCaller
	}
	if o.RequestID != "" || o.Attempt != 0 || o.Mark != 0 {
		flags |= flagRequest
	}
	if o.Fence != (interrex.Fence{}) {
		flags |= flagFence
	}
	if len(o.Minted) != 0 {
		flags |= flagMinted
	}
	if o.Origin != "" {
		flags |= flagOrigin
	}
	if o.Since != 0 {
		flags |= flagSince
	}
	if len(o.Group) > 0 {
		b = append(b, kindGroup, flags)
	} else {
		b = append(b, kindOne, flags)
		b = binary.AppendUvarint(b, uint64(o.Table))
	}
	if flags&flagCaller != 0 {
		b = appendBytes(b, o.Caller)
	}
	if flags&flagOrigin != 0 {
		b = appendBytes(b, o.Origin)
	}
	if flags&flagRequest != 0 {
		b = appendBytes(b, o.RequestID)
		b = binary.AppendUvarint(b, uint64(o.Attempt))
		b = binary.AppendUvarint(b, o.Mark)
	}
	if flags&flagSince != 0 {
		b = binary.AppendUvarint(b, uint64(o.Since))
	}
	if flags&flagFence != 0 {
		b = appendBytes(b, o.Fence.Key.Namespace)
		b = appendBytes(b, o.Fence.Key.Name)
		b = binary.AppendUvarint(b, uint64(o.Fence.Token))
	}
	if len(o.Group) > 0 {
		return appendGroup(b, o.Group)
	}
	if flags&flagMinted != 0 {
		b = appendBytes(b, o.Minted)
	}
	return appendBytes(b, o.Data)
}

// Decode reads what Append has written, and reuses the memory of e's operations. The
// strings and the data of the entry share the memory of b: b must not be changed
// afterwards, and a part of an entry that is stored beyond its Apply must be cloned, or
// it keeps all of b alive.
func (e *Entry) Decode(b []byte) error {
	if len(b) > limits.MaxEntryBytes {
		return fmt.Errorf("cannot decode entry: it has %d bytes, more than %d", len(b), limits.MaxEntryBytes)
	}
	d := decoder{b: b}
	e.Version = d.byte()
	if d.err == nil && (e.Version < OldestEntry || e.Version > EntryVersion) {
		return fmt.Errorf("cannot decode entry: unknown version %d; this build knows %d to %d", e.Version, OldestEntry, EntryVersion)
	}
	e.Stamp = state.Time(d.varint())
	sec := d.varint()
	e.Wall = time.Unix(sec, int64(d.small(1e9-1))).UTC()
	n := d.count()
	if n > limits.MaxOperations {
		return fmt.Errorf("cannot decode entry: it has %d operations, more than %d", n, limits.MaxOperations)
	}
	e.Operations = slices.Grow(e.Operations[:0], n)
	left := limits.MaxOperations
	for i := 0; i < n && d.err == nil; i++ {
		e.Operations = append(e.Operations, state.Operation{})
		if err := decodeOperation(&d, &e.Operations[i]); err != nil {
			return fmt.Errorf("cannot decode entry: operation %d: %w", i, err)
		}
		if left -= e.Operations[i].Count(); left < 0 {
			return fmt.Errorf("cannot decode entry: with the operations of groups it has more than %d", limits.MaxOperations)
		}
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("cannot decode entry: %w", err)
	}
	return nil
}

func decodeOperation(d *decoder, o *state.Operation) error {
	kind := d.byte()
	if d.err == nil && kind != kindOne && kind != kindGroup {
		return fmt.Errorf("unknown kind %d", kind)
	}
	flags := d.byte()
	if flags&^flagsKnown != 0 || kind == kindGroup && flags&flagMinted != 0 {
		return fmt.Errorf("unknown flags %#x", flags)
	}
	if kind == kindOne {
		o.Table = state.TableID(d.small(math.MaxUint16))
	}
	if flags&flagCaller != 0 {
		o.Caller = d.text()
	}
	if flags&flagOrigin != 0 {
		o.Origin = d.text()
	}
	if flags&flagRequest != 0 {
		o.RequestID = d.text()
		o.Attempt = uint32(d.small(math.MaxUint32))
		o.Mark = d.uvarint()
	}
	if flags&flagSince != 0 {
		o.Since = interrex.Revision(d.uvarint())
	}
	if flags&flagFence != 0 {
		o.Fence.Key.Namespace = d.text()
		o.Fence.Key.Name = d.text()
		o.Fence.Token = interrex.Token(d.uvarint())
	}
	if kind == kindGroup {
		o.Group = d.group()
		return d.err
	}
	if flags&flagMinted != 0 {
		o.Minted = d.bytes()
	}
	o.Data = d.bytes()
	return d.err
}
