package resource

import (
	"cmp"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

const maxTypeURL = 512 // bytes

// Write creates a resource or replaces it.
type Write struct {
	ID         interrex.ResourceID
	Owner      *interrex.ResourceID // nil: none, or the stored one
	OwnerLease *interrex.Fence      // nil: none
	// Version must be the stored one; empty: create the resource.
	Version    string
	Generation string // of a Strict one
	Metadata   codec.Metadata
	Data       interrex.ResourceData
	// Strict stores the resource as it is, as a storage backend does: an empty UID
	// differs from the stored one, and uid, generation and owner are stored without
	// a change.
	Strict bool
	// Overwrite replaces any stored version: Version is not compared.
	Overwrite bool
}

// About is part of state.Command.
func (c *Write) About() state.About { return state.About{Name: "write"} }

// Announce is part of state.Announcer.
func (c *Write) Announce() state.Announcement {
	return state.Announcement{Kinds: []string{interrex.ResourceWritten}, Key: c.ID.String()}
}

// Owners calls named for each of those that the resource belongs to.
func (c *Write) Owners(named func(table, key string) error) error {
	if c.Owner != nil {
		if err := named("resource", c.Owner.String()); err != nil {
			return err
		}
	}
	if c.OwnerLease == nil {
		return nil
	}
	return named("lease", c.OwnerLease.Key.String())
}

// Validate returns an error if a field is not valid, independent of the table's
// content.
func (c *Write) Validate() error {
	if err := c.ID.Validate(); err != nil {
		return err
	}
	if c.Owner != nil {
		if err := about("owner", c.Owner.Validate()); err != nil {
			return err
		}
	}
	if err := c.validateLease(); err != nil {
		return err
	}
	if err := validateVersion(c.Version); err != nil {
		return err
	}
	if c.Overwrite && (c.Strict || c.Version != "") {
		return interrex.Errorf(interrex.ErrInvalid, "overwrite: it cannot be combined with a version: leave one of them out")
	}
	if len(c.Generation) > limits.MaxUID || !utf8.ValidString(c.Generation) {
		return interrex.Errorf(interrex.ErrInvalid, "generation: at most %d bytes of UTF-8 are allowed", limits.MaxUID)
	}
	if err := c.Metadata.Validate(); err != nil {
		return err
	}
	return validateData(c.Data)
}

func (c *Write) validateLease() error {
	switch {
	case c.OwnerLease == nil:
		return nil
	case c.OwnerLease.Token == 0:
		return interrex.Errorf(interrex.ErrInvalid, "owner_lease: token: missing: give the token under which %s is held", c.OwnerLease.Key)
	}
	return about("owner_lease", c.OwnerLease.Key.Validate())
}

// about puts a field before an error's text.
func about(field string, err error) error {
	if e, is := err.(*interrex.Error); is && e != nil {
		return interrex.Errorf(e.Kind, "%s: %s", field, e.Message)
	}
	return err
}

func validateVersion(v string) error {
	if len(v) > limits.MaxUID || !utf8.ValidString(v) {
		return interrex.Errorf(interrex.ErrInvalid, "version: at most %d bytes of UTF-8 are allowed, not %d", limits.MaxUID, len(v))
	}
	return nil
}

func validateData(d interrex.ResourceData) error {
	switch {
	case len(d.TypeURL) > maxTypeURL || !utf8.ValidString(d.TypeURL):
		return interrex.Errorf(interrex.ErrInvalid, "data: its type URL has at most %d bytes of UTF-8, not %d", maxTypeURL, len(d.TypeURL))
	case d.TypeURL == "" && len(d.Value) > 0:
		return interrex.Errorf(interrex.ErrInvalid, "data: it has a value but no type URL")
	case len(d.Value) > interrex.MaxData:
		return errData(len(d.Value), interrex.MaxData)
	}
	return nil
}

// Append encodes the command.
func (c *Write) Append(b []byte) []byte {
	b = appendLease(appendOwner(appendID(append(b, opWrite), c.ID), c.Owner), c.OwnerLease)
	b = codec.AppendText(codec.AppendText(b, c.Version), c.Generation)
	b = codec.AppendText(b, c.Metadata.Packed())
	b = codec.AppendText(b, c.Data.TypeURL)
	b = append(binary.AppendUvarint(b, uint64(len(c.Data.Value))), c.Data.Value...)
	return codec.AppendBool(codec.AppendBool(b, c.Strict), c.Overwrite)
}

func (c *Write) decode(d codec.Decoder) codec.Decoder {
	*c = Write{
		ID: readID(&d), Owner: readOwner(&d), OwnerLease: readLease(&d),
		Version: d.Text(), Generation: d.Text(), Metadata: codec.UnpackedMetadata(d.Text()),
		Data: interrex.ResourceData{TypeURL: d.Text(), Value: readValue(&d)}, Strict: d.Bool(), Overwrite: d.Bool(),
	}
	return d
}

func readValue(d *codec.Decoder) []byte {
	if s := d.Text(); s != "" {
		return []byte(s)
	}
	return nil
}

// Mint makes the random bits of a uid and of a generation.
func (c *Write) Mint(random io.Reader) ([]byte, error) {
	if c.Strict {
		return nil, nil
	}
	b := make([]byte, 2*idBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot make a uid: %v", err)
	}
	return b, nil
}

func (c *Write) target() string { return join(c.ID) }

func (c *Write) check(t *Table) *interrex.Error {
	old, there := t.rows.Get(c.target())
	switch {
	case c.Overwrite && (!there || c.ID.UID == "" || c.ID.UID == old.ID.UID):
	case !there && c.Version != "":
		return interrex.Errorf(interrex.ErrCASFailure, "cannot write %s: it does not exist, and version %q was given: leave the version out to create it", c.ID, c.Version)
	case there && c.ID.UID != old.ID.UID && (c.Strict || c.ID.UID != ""):
		return interrex.Errorf(interrex.ErrWrongUID, "cannot write %s: its uid is %q, not %q: the intended one no longer exists", c.ID, old.ID.UID, c.ID.UID)
	case there && c.Version == "":
		return interrex.Errorf(interrex.ErrCASFailure, "cannot create %s: it exists in version %s: give that version to replace it", c.ID, old.Version())
	case there && c.Version != old.Version():
		return interrex.Errorf(interrex.ErrCASFailure, "cannot write %s: version %q was given, and %s is stored: read it again", c.ID, c.Version, old.Version())
	}
	if !c.Strict {
		if err := c.checkOwner(t, old); err != nil {
			return err
		}
	}
	if n := len(c.Data.Value); n > t.limits.data {
		return errData(n, t.limits.data)
	}
	if l := c.OwnerLease; l != nil && !t.held(*l) {
		return interrex.Errorf(interrex.ErrNotHeld, "owner_lease: %s is not held under token %d", l.Key, l.Token)
	}
	return nil
}

// checkOwner allows an owner to be set only once.
func (c *Write) checkOwner(t *Table, old *Record) *interrex.Error {
	switch {
	case c.Owner == nil:
		return nil
	case old == nil:
		if c.Owner.UID == "" && t.find(*c.Owner) == nil {
			return interrex.Errorf(interrex.ErrInvalid, "owner: %s does not exist: create it first, or give its uid", *c.Owner)
		}
		if c.gone(t) {
			return interrex.Errorf(interrex.ErrInvalid, "owner: %s with uid %q does not exist, and resources of such owners are deleted with them", *c.Owner, c.Owner.UID)
		}
		return nil
	case old.Owner == nil:
		return interrex.Errorf(interrex.ErrInvalid, "owner: %s has none, and an owner is set when a resource is created", c.ID)
	case !old.Owner.Same(*c.Owner) || c.Owner.UID != "" && c.Owner.UID != old.Owner.UID:
		return interrex.Errorf(interrex.ErrInvalid, "owner: that of %s is %s with uid %q, and cannot be changed", c.ID, *old.Owner, old.Owner.UID)
	}
	return nil
}

// gone reports whether the owner does not exist, and is of a type whose deletion
// deletes what it owns.
func (c *Write) gone(t *Table) bool {
	owner := t.find(*c.Owner)
	kind := c.Owner.Type.Group + "." + c.Owner.Type.Kind
	return t.limits.reaped.has(kind) && c.Owner.UID != "" && (owner == nil || owner.ID.UID != c.Owner.UID)
}

func (c *Write) weigh(t *Table, l *load) {
	l.replace(t.find(c.ID), c.record(t, nil))
}

func (c *Write) idle(*Table) bool { return false }

func (c *Write) apply(t *Table, turn *state.Turn) *Reply {
	old := t.find(c.ID)
	r := c.record(t, turn).compact()
	t.put(old, r)
	turn.Emit(interrex.ResourceWritten, r.ID.String(), r, r.size())
	return replyOf(r)
}

// record returns the new row; without a turn, one of the same weight. Its texts
// share memory with the command.
func (c *Write) record(t *Table, turn *state.Turn) *Record {
	r := &Record{
		ID: c.ID, Owner: c.Owner, OwnerLease: c.OwnerLease,
		Generation: c.Generation, Metadata: c.Metadata, Data: c.Data, key: c.target(),
	}
	var ids minted
	if turn != nil {
		r.Revision, ids = turn.Revision, mintedOf(turn)
		r.Metadata = r.Metadata.Clone()
	}
	if c.Strict {
		return r
	}
	old := t.find(c.ID)
	if old == nil {
		r.ID.UID = strings.Clone(cmp.Or(c.ID.UID, ids.uid()))
		if r.Owner != nil && r.Owner.UID == "" {
			r.Owner = &t.find(*r.Owner).ID
		}
	} else {
		r.ID.UID, r.Owner = old.ID.UID, old.Owner
	}
	r.Generation = ids.generation()
	if old != nil && r.sameContent(old) {
		r.Generation = old.Generation
	}
	return r
}
