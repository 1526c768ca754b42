package interrex

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// Limits of a resource. Its name has at most MaxName bytes, as that of a lease,
// and its metadata at most 4 KiB.
const (
	MaxTypePart = 63        // bytes of each part of a type
	MaxUID      = 64        // bytes of a uid, generation or version
	MaxData     = 512 << 10 // bytes of the data; a replicated setting may lower it
)

// DefaultTenancy stands for an empty partition or namespace.
const DefaultTenancy = "default"

// Wildcard, as a whole partition or namespace of a list or watch, is any.
const Wildcard = "*"

// ResourceType is the type of a resource. Each part has 1 to 63 of
// `a-z A-Z 0-9 _ -` and starts with a letter or a digit; a group may contain
// dots too.
type ResourceType struct {
	Group        string
	GroupVersion string // no part of what makes a resource unique
	Kind         string
}

// ValueType is the built-in type: keys and their values, which are any bytes. See
// package client's KV.
var ValueType = ResourceType{Group: "interrex", GroupVersion: "v1", Kind: "Value"}

// ParseResourceType reads GROUP.VERSION.KIND. The group may contain dots. The
// error is of kind KindInvalid.
func ParseResourceType(s string) (ResourceType, error) {
	rest, kind, both := cutLast(s)
	group, version, three := cutLast(rest)
	if !both || !three {
		return ResourceType{}, Errorf(KindInvalid, "type: %q is not GROUP.VERSION.KIND, such as demo.v1.Server", s)
	}
	t := ResourceType{Group: group, GroupVersion: version, Kind: kind}
	return t, t.Validate()
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// String returns GROUP.VERSION.KIND, which ParseResourceType reads.
func (t ResourceType) String() string { return t.Group + "." + t.GroupVersion + "." + t.Kind }

// Validate says which part of the type is malformed, as KindInvalid.
func (t ResourceType) Validate() error {
	if err := validateWord("type: group", t.Group, "._-", true); err != nil {
		return err
	}
	if err := validateWord("type: group_version", t.GroupVersion, "_-", true); err != nil {
		return err
	}
	return validateWord("type: kind", t.Kind, "_-", true)
}

// validateWord demands 1 to MaxTypePart letters, digits and other characters,
// the first one a letter or digit.
func validateWord(field, s, others string, capitals bool) error {
	if len(s) == 0 || len(s) > MaxTypePart {
		return Errorf(KindInvalid, "%s: 1 to %d bytes are allowed, not %d", field, MaxTypePart, len(s))
	}
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || capitals && c >= 'A' && c <= 'Z'
		if !plain && (i == 0 || strings.IndexByte(others, c) < 0) {
			letters := "a-z 0-9"
			if capitals {
				letters = "a-z A-Z 0-9"
			}
			return Errorf(KindInvalid, "%s: %q: allowed are %s %s after a first letter or digit", field, s, letters, strings.Join(strings.Split(others, ""), " "))
		}
	}
	return nil
}

// Tenancy says whose a resource is. Partition and namespace are like the
// namespace of a lease; empty is DefaultTenancy.
type Tenancy struct {
	Partition string
	Namespace string
}

// WithDefaults puts DefaultTenancy in the place of what is empty.
func (t Tenancy) WithDefaults() Tenancy {
	return Tenancy{Partition: cmp.Or(t.Partition, DefaultTenancy), Namespace: cmp.Or(t.Namespace, DefaultTenancy)}
}

// Validate says which part is malformed, as KindInvalid. An empty one is, too.
func (t Tenancy) Validate() error {
	if err := validateWord("tenancy: partition", t.Partition, "._-", false); err != nil {
		return err
	}
	return validateWord("tenancy: namespace", t.Namespace, "._-", false)
}

// ResourceID names a resource. Group, kind, tenancy and name make it unique;
// UID tells one life of that name from the next.
type ResourceID struct {
	Type    ResourceType
	Tenancy Tenancy
	Name    string // 1 to MaxName bytes of printable UTF-8, slashes allowed
	UID     string // at most MaxUID bytes; empty: see where it is used
}

// WithDefaults fills in the tenancy.
func (id ResourceID) WithDefaults() ResourceID {
	id.Tenancy = id.Tenancy.WithDefaults()
	return id
}

// String returns GROUP.KIND/PARTITION/NAMESPACE/NAME, without group version
// and uid: the key of the resource's events.
func (id ResourceID) String() string {
	return id.Type.Group + "." + id.Type.Kind + "/" + id.Tenancy.Partition + "/" + id.Tenancy.Namespace + "/" + id.Name
}

// ParseResourceKey reads what String returns: an ID without group version and uid.
// The error is of kind KindInvalid.
func ParseResourceKey(s string) (ResourceID, error) {
	parts := strings.SplitN(s, "/", 4)
	group, kind, both := cutLast(parts[0])
	if len(parts) < 4 || !both {
		return ResourceID{}, Errorf(KindInvalid, "resource: %q is not GROUP.KIND/PARTITION/NAMESPACE/NAME, such as demo.Server/default/default/web", s)
	}
	id := ResourceID{Type: ResourceType{Group: group, Kind: kind}, Tenancy: Tenancy{Partition: parts[1], Namespace: parts[2]}, Name: parts[3]}
	whole := id
	whole.Type.GroupVersion = kind // any word: it is no part of the key
	return id, whole.Validate()
}

// Validate says which part is malformed, as KindInvalid.
func (id ResourceID) Validate() error {
	if err := id.Type.Validate(); err != nil {
		return err
	}
	if err := id.Tenancy.Validate(); err != nil {
		return err
	}
	if err := checkText("name", id.Name, MaxName); err != nil {
		return err
	}
	if id.UID == "" {
		return nil
	}
	return checkText("uid", id.UID, MaxUID)
}

// Same reports whether two IDs name the same resource, whatever its group
// version and uid.
func (id ResourceID) Same(o ResourceID) bool {
	return id.Type.Group == o.Type.Group && id.Type.Kind == o.Type.Kind && id.Tenancy == o.Tenancy && id.Name == o.Name
}

// ResourceData is what a resource carries: a Protobuf message of any type. A
// plain document is a google.protobuf.Struct: see package client's Document.
type ResourceData struct {
	TypeURL string
	Value   []byte
}

// Equal reports whether both are the same bytes of the same type.
func (d ResourceData) Equal(o ResourceData) bool {
	return d.TypeURL == o.TypeURL && slices.Equal(d.Value, o.Value)
}

// Resource is a resource as it was at one moment. Nobody writes to its metadata
// and data.
type Resource struct {
	ID ResourceID
	// Owner is the resource that it belongs to, set when it is created; zero:
	// none. In a write, an empty UID stands for the owner that is there now.
	Owner ResourceID
	// OwnerLease is the lease that it goes with, in the moment in which that
	// token ends; zero: none.
	OwnerLease Fence
	// Version changes with each write. Only whether two are equal means
	// something.
	Version string
	// Generation changes with each write that changes something.
	Generation string
	Metadata   map[string]string
	Data       ResourceData
}

// The kinds of resource event.
const (
	ResourceWritten = "resource.written"
	ResourceDeleted = "resource.deleted"
)

// The operations of a watch of resources.
const (
	ResourceUpsert = "upsert"
	ResourceDelete = "delete"
)

// ResourceEvent is one event of a watch.
type ResourceEvent struct {
	// Operation is ResourceUpsert, ResourceDelete, or EndOfSnapshot after the
	// resources that were there when the watch began.
	Operation string
	// Resource is as it was written; of a delete, as it was last. Zero at
	// EndOfSnapshot.
	Resource Resource
	Revision Revision
	// Time is the wall clock (UTC) of the leader at the change: information, no
	// rule reads it. Zero for what was there when the watch began.
	Time time.Time
}

// WriteResourceRequest creates or replaces a resource.
type WriteResourceRequest struct {
	// Resource is the whole of it. An empty Version demands that it does not
	// exist; else the stored one must be the same. An empty UID is the stored
	// one, or a new one. The Generation is not read.
	Resource  Resource
	RequestID string // empty: a library fills one in
	Attempt   uint32
	Fence     Fence
	// Strict takes the resource as it is, as a storage backend does: an empty UID
	// is another than the stored one, and uid, generation and owner are stored as
	// they are given.
	Strict bool
	// Overwrite writes whatever is stored; no Version is given then.
	Overwrite bool
}

// WriteResourceAnswer answers a write.
type WriteResourceAnswer struct {
	Resource Resource // as it is stored
	Replayed bool     // an earlier attempt had done it; nothing was done again
	Revision Revision
}

// DeleteResourceRequest deletes a resource. One that is not there, or that has
// another UID, is no error, and changes nothing.
type DeleteResourceRequest struct {
	ID        ResourceID // an empty UID is any
	Version   string     // empty: any
	RequestID string
	Attempt   uint32
	Fence     Fence
	// Strict is as a storage backend deletes: an empty UID is another than the
	// stored one, and so is an empty Version.
	Strict bool
}

// DeleteResourceAnswer answers a delete.
type DeleteResourceAnswer struct {
	Replayed bool
	Revision Revision
}

// ClearResourcesRequest deletes resources by a prefix of their names.
type ClearResourcesRequest struct {
	ResourceSelection // without Wildcard
	RequestID         string
	Attempt           uint32
	Fence             Fence
}

// ClearResourcesAnswer answers it.
type ClearResourcesAnswer struct {
	Deleted  int
	Replayed bool
	Revision Revision
}

// ResourceSelection says which resources a list or watch is about.
type ResourceSelection struct {
	Type       ResourceType // its GroupVersion is not read: every one is listed
	Tenancy    Tenancy      // either part may be Wildcard
	NamePrefix string
}

// Validate says which part is malformed, as KindInvalid.
func (s ResourceSelection) Validate() error {
	if err := validateWord("type: group", s.Type.Group, "._-", true); err != nil {
		return err
	}
	if err := validateWord("type: kind", s.Type.Kind, "_-", true); err != nil {
		return err
	}
	if len(s.NamePrefix) > MaxName {
		return Errorf(KindInvalid, "name_prefix: at most %d bytes are allowed, not %d", MaxName, len(s.NamePrefix))
	}
	t := s.Tenancy
	if t.Partition == Wildcard {
		t.Partition = DefaultTenancy
	}
	if t.Namespace == Wildcard {
		t.Namespace = DefaultTenancy
	}
	return t.Validate()
}

// Matches reports whether a resource is selected.
func (s ResourceSelection) Matches(id ResourceID) bool {
	return s.Type.Group == id.Type.Group && s.Type.Kind == id.Type.Kind &&
		(s.Tenancy.Partition == Wildcard || s.Tenancy.Partition == id.Tenancy.Partition) &&
		(s.Tenancy.Namespace == Wildcard || s.Tenancy.Namespace == id.Tenancy.Namespace) &&
		strings.HasPrefix(id.Name, s.NamePrefix)
}

// ListResourcesRequest asks for a page of resources, in the order of partition,
// namespace and name.
type ListResourcesRequest struct {
	ResourceSelection
	PageSize  int // 0: 1 000, which is the most
	PageToken string
	ReadOptions
}

// ListOwnedRequest asks for a page of the resources that an owner has, in the
// order of type, tenancy and name. They may be of any type.
type ListOwnedRequest struct {
	Owner     ResourceID // with its UID; it need not exist any more
	PageSize  int        // 0: 1 000, which is the most
	PageToken string
	ReadOptions
}

// ResourcePage is one page of a list. A page also ends at 1 MiB.
type ResourcePage struct {
	Items         []Resource
	NextPageToken string // empty: this was the last page
	Revision      Revision
}

// WatchResourcesRequest asks for the events of resources.
type WatchResourcesRequest struct {
	ResourceSelection
	// Since is exclusive. 0: the present resources first, then EndOfSnapshot,
	// then what changes. One that the cluster has not reached is KindInvalid.
	Since Revision
}

// Resources is what an agent and a client both offer. Errors are *Error; compare
// them with errors.Is and the sentinels of this package. An empty partition or
// namespace is "default" everywhere.
type Resources interface {
	// Read returns one resource. An ID with a UID is KindNotFound unless it has
	// that one; one that is stored under another group version is
	// KindGroupVersionMismatch, with the stored resource as a message of the API
	// in Error.Stored.
	Read(ctx context.Context, id ResourceID, o ReadOptions) (Resource, Revision, error)
	// Write creates or replaces a resource: KindCASFailure when its version is
	// not the stored one, KindWrongUID when its uid is not.
	Write(ctx context.Context, r WriteResourceRequest) (WriteResourceAnswer, error)
	// Delete deletes a resource: KindCASFailure when a version is given that is
	// not the stored one.
	Delete(ctx context.Context, r DeleteResourceRequest) (DeleteResourceAnswer, error)
	// Clear deletes all resources that are selected, or none: KindTooLarge when
	// there are more than 1 000.
	Clear(ctx context.Context, r ClearResourcesRequest) (ClearResourcesAnswer, error)
	List(ctx context.Context, r ListResourcesRequest) (ResourcePage, error)
	ListByOwner(ctx context.Context, r ListOwnedRequest) (ResourcePage, error)
	Watch(ctx context.Context, r WatchResourcesRequest) (ResourceWatch, error)
}

// ResourceWatch yields resource events in the order of their revisions.
type ResourceWatch interface {
	// Next blocks until an event is there: see LeaseWatch.
	Next(ctx context.Context) (ResourceEvent, error)
	// Disconnected reports since when no agent serves the watch, and what each
	// agent said last: see LeaseWatch.
	Disconnected() (since time.Time, why error)
	// Close ends the watch and waits for what it owns.
	Close() error
}
