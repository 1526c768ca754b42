package resource

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
)

// Record is a resource as it was at one moment: the row of the table, the value
// of its events, and what reads return. It is immutable, with everything that it
// points to.
type Record struct {
	ID         interrex.ResourceID
	Owner      *interrex.ResourceID // nil: none
	OwnerLease *interrex.Fence      // nil: none
	Revision   interrex.Revision    // of the write: the version
	Generation string
	Metadata   codec.Metadata
	Data       interrex.ResourceData

	key string
}

// Version is the version that a write or a delete must name.
func (r *Record) Version() string { return r.Revision.String() }

// Resource returns the resource as users see it. It shares its data with the
// record: the caller must not modify it.
func (r *Record) Resource() interrex.Resource {
	out := interrex.Resource{ID: r.ID, Version: r.Version(), Generation: r.Generation, Metadata: r.Metadata.Map(), Data: r.Data}
	if r.Owner != nil {
		out.Owner = *r.Owner
	}
	if r.OwnerLease != nil {
		out.OwnerLease = *r.OwnerLease
	}
	return out
}

// Key is the place of the resource in lists: see ReadView.
func (r *Record) Key() string { return r.key }

// namespace is where the resource counts against what one namespace may have, as users
// write it: resources of another kind are elsewhere, as they are for rules of access.
func (r *Record) namespace() string {
	return r.kind() + "/" + r.ID.Tenancy.Partition + "/" + r.ID.Tenancy.Namespace
}

// kind is GROUP.KIND.
func (r *Record) kind() string { return r.ID.Type.Group + "." + r.ID.Type.Kind }

// sameContent reports whether two records have the same group version, metadata,
// data and owner lease.
func (r *Record) sameContent(o *Record) bool {
	return r.ID.Type.GroupVersion == o.ID.Type.GroupVersion && r.Metadata == o.Metadata &&
		r.Data.TypeURL == o.Data.TypeURL && bytes.Equal(r.Data.Value, o.Data.Value) &&
		(r.OwnerLease == nil) == (o.OwnerLease == nil) && (r.OwnerLease == nil || *r.OwnerLease == *o.OwnerLease)
}

// compact returns a copy whose texts share no memory with what they were read
// from: one object and one text. The data has been copied when it was read.
func (r *Record) compact() *Record {
	var b strings.Builder
	texts := r.texts()
	b.Grow(len(r.key) + textsLen(texts))
	b.WriteString(r.key)
	for _, s := range texts {
		b.WriteString(*s)
	}
	all := b.String()
	c := *r
	c.key, all = all[:len(r.key)], all[len(r.key):]
	rest := c.ID
	c.ID = split(c.key)
	c.ID.Type.GroupVersion, c.ID.UID = rest.Type.GroupVersion, rest.UID
	for _, s := range c.texts() {
		*s, all = all[:len(*s)], all[len(*s):]
	}
	if r.Owner != nil {
		c.Owner = cloneID(*r.Owner)
	}
	if r.OwnerLease != nil {
		l := *r.OwnerLease
		l.Key = interrex.Key{Namespace: strings.Clone(l.Key.Namespace), Name: strings.Clone(l.Key.Name)}
		c.OwnerLease = &l
	}
	return &c
}

// texts returns the texts that are not part of the key, except those of owners.
func (r *Record) texts() []*string {
	return []*string{&r.ID.Type.GroupVersion, &r.ID.UID, &r.Generation, &r.Data.TypeURL}
}

func textsLen(texts []*string) (n int) {
	for _, s := range texts {
		n += len(*s)
	}
	return n
}

// cloneID returns a copy of an ID that shares no memory with it.
func cloneID(id interrex.ResourceID) *interrex.ResourceID {
	own := split(strings.Clone(join(id)))
	own.Type.GroupVersion, own.UID = strings.Clone(id.Type.GroupVersion), strings.Clone(id.UID)
	return &own
}

// weight returns the bytes of the resource that count against the table's limit:
// those of its names, metadata and data.
func (r *Record) weight() int64 {
	n := len(r.key) + textsLen(r.texts()) + len(r.Metadata.Packed()) + len(r.Data.Value)
	if r.Owner != nil {
		n += len(ownedBy(*r.Owner))
	}
	if r.OwnerLease != nil {
		n += len(r.OwnerLease.Key.Namespace) + len(r.OwnerLease.Key.Name)
	}
	return int64(n)
}

// size estimates the bytes in memory of an event, for the ring's limit.
func (r *Record) size() int {
	const fixed = 400
	return fixed + int(r.weight())
}

func appendID(b []byte, id interrex.ResourceID) []byte {
	for _, s := range []string{id.Type.Group, id.Type.GroupVersion, id.Type.Kind, id.Tenancy.Partition, id.Tenancy.Namespace, id.Name, id.UID} {
		b = codec.AppendText(b, s)
	}
	return b
}

func readID(d *codec.Decoder) (id interrex.ResourceID) {
	for _, s := range []*string{&id.Type.Group, &id.Type.GroupVersion, &id.Type.Kind, &id.Tenancy.Partition, &id.Tenancy.Namespace, &id.Name, &id.UID} {
		*s = d.Text()
	}
	return id
}

// appendOwner appends an owner that may be nil.
func appendOwner(b []byte, owner *interrex.ResourceID) []byte {
	if b = codec.AppendBool(b, owner != nil); owner != nil {
		b = appendID(b, *owner)
	}
	return b
}

func readOwner(d *codec.Decoder) *interrex.ResourceID {
	if !d.Bool() {
		return nil
	}
	id := readID(d)
	return &id
}

// appendLease appends an owner lease that may be nil.
func appendLease(b []byte, l *interrex.Fence) []byte {
	if b = codec.AppendBool(b, l != nil); l != nil {
		b = binary.AppendUvarint(codec.AppendKey(b, l.Key), uint64(l.Token))
	}
	return b
}

func readLease(d *codec.Decoder) *interrex.Fence {
	if !d.Bool() {
		return nil
	}
	return &interrex.Fence{Key: d.Key(), Token: interrex.Token(d.Uvarint())}
}

func appendRecord(b []byte, r *Record) []byte {
	b = appendLease(appendOwner(appendID(b, r.ID), r.Owner), r.OwnerLease)
	b = binary.AppendUvarint(b, uint64(r.Revision))
	b = codec.AppendText(codec.AppendText(b, r.Generation), r.Metadata.Packed())
	b = codec.AppendText(b, r.Data.TypeURL)
	return append(binary.AppendUvarint(b, uint64(len(r.Data.Value))), r.Data.Value...)
}

// readRecord reads what appendRecord wrote, to the end, and copies it. It refuses
// what the commands would have refused.
func readRecord(d *codec.Decoder) (*Record, error) {
	r := Record{
		ID: readID(d), Owner: readOwner(d), OwnerLease: readLease(d),
		Revision: interrex.Revision(d.Uvarint()), Generation: d.Text(),
		Metadata: codec.UnpackedMetadata(d.Text()).Clone(),
		Data:     interrex.ResourceData{TypeURL: d.Text(), Value: readValue(d)},
	}
	if !d.Done() || r.Revision == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "the resource is malformed")
	}
	c := Write{ID: r.ID, Owner: r.Owner, OwnerLease: r.OwnerLease, Generation: r.Generation, Metadata: r.Metadata, Data: r.Data}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r.key = join(r.ID)
	return r.compact(), nil
}
