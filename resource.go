package interrex

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex/internal/limits"
)

// MaxData is the maximum size of a resource's data in bytes; a replicated setting may
// lower it. Its metadata have at most 4 KiB.
const MaxData = 512 << 10

// Wildcard, as a whole partition or namespace of a list or watch, matches any.
const Wildcard = "*"

// ResourceType is the type of a resource. Each part has 1 to 63 of
// `a-z A-Z 0-9 _ -` and starts with a letter or a digit; a group may contain
// dots too.
type ResourceType struct {
	Group        string
	GroupVersion string // not part of a resource's identity
	Kind         string
}

// ValueType is the built-in type: keys and their values, which are any bytes. See
// package client's KV.
var ValueType = ResourceType{Group: "interrex", GroupVersion: "v1", Kind: "Value"}

// ParseResourceType reads GROUP.VERSION.KIND. The group may contain dots. The
// error is of kind ErrInvalid.
func ParseResourceType(s string) (ResourceType, error) {
	rest, kind, both := cutLast(s)
	group, version, three := cutLast(rest)
	if !both || !three {
		return ResourceType{}, Errorf(ErrInvalid, "type: %q is not GROUP.VERSION.KIND, such as demo.v1.Server", s)
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

// Validate returns a ErrInvalid error that says which part of the type is
// malformed.
func (t ResourceType) Validate() error {
	if err := validateWord("type: group", t.Group, "._-", true); err != nil {
		return err
	}
	if err := validateWord("type: group_version", t.GroupVersion, "_-", true); err != nil {
		return err
	}
	return validateWord("type: kind", t.Kind, "_-", true)
}

// validateWord requires 1 to 63 letters, digits and other characters,
// the first one a letter or digit.
func validateWord(field, s, others string, capitals bool) error {
	if len(s) == 0 || len(s) > limits.MaxTypePart {
		return Errorf(ErrInvalid, "%s: 1 to %d bytes are allowed, not %d", field, limits.MaxTypePart, len(s))
	}
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || capitals && c >= 'A' && c <= 'Z'
		if !plain && (i == 0 || strings.IndexByte(others, c) < 0) {
			letters := "a-z 0-9"
			if capitals {
				letters = "a-z A-Z 0-9"
			}
			return Errorf(ErrInvalid, "%s: %q: allowed are %s %s after a first letter or digit", field, s, letters, strings.Join(strings.Split(others, ""), " "))
		}
	}
	return nil
}

// Tenancy is the scope of a resource. Partition and namespace are like the
// namespace of a lease; empty is "default".
type Tenancy struct {
	Partition string
	Namespace string
}

// WithDefaults replaces empty fields with "default".
func (t Tenancy) WithDefaults() Tenancy {
	return Tenancy{Partition: cmp.Or(t.Partition, limits.DefaultNamespace), Namespace: cmp.Or(t.Namespace, limits.DefaultNamespace)}
}

// Validate returns a ErrInvalid error that says which part is malformed. An
// empty part is malformed too.
func (t Tenancy) Validate() error {
	if err := validateWord("tenancy: partition", t.Partition, "._-", false); err != nil {
		return err
	}
	return validateWord("tenancy: namespace", t.Namespace, "._-", false)
}

// ResourceID names a resource. Group, kind, tenancy and name make it unique; UID
// distinguishes successive resources of the same name.
type ResourceID struct {
	Type    ResourceType
	Tenancy Tenancy
	Name    string // 1 to 512 bytes of printable UTF-8, slashes allowed
	UID     string // at most 64 bytes; empty: see where it is used
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
// The error is of kind ErrInvalid.
func ParseResourceKey(s string) (ResourceID, error) {
	parts := strings.SplitN(s, "/", 4)
	group, kind, both := cutLast(parts[0])
	if len(parts) < 4 || !both {
		return ResourceID{}, Errorf(ErrInvalid, "resource: %q is not GROUP.KIND/PARTITION/NAMESPACE/NAME, such as demo.Server/default/default/web", s)
	}
	id := ResourceID{Type: ResourceType{Group: group, Kind: kind}, Tenancy: Tenancy{Partition: parts[1], Namespace: parts[2]}, Name: parts[3]}
	whole := id
	whole.Type.GroupVersion = kind // any word: it is not part of the key
	return id, whole.Validate()
}

// Validate returns a ErrInvalid error that says which part is malformed.
func (id ResourceID) Validate() error {
	if err := id.Type.Validate(); err != nil {
		return err
	}
	if err := id.Tenancy.Validate(); err != nil {
		return err
	}
	if err := checkText("name", id.Name, limits.MaxName); err != nil {
		return err
	}
	if id.UID == "" {
		return nil
	}
	return checkText("uid", id.UID, limits.MaxUID)
}

// Same reports whether two IDs name the same resource, regardless of group
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

// Resource is a resource as it was at one moment. Its metadata and data must not
// be modified.
type Resource struct {
	ID ResourceID
	// Owner is the resource that it belongs to, set when it is created; zero: none.
	// In a write, an empty UID means the owner that exists now.
	Owner ResourceID
	// OwnerLease is the lease that it is tied to: it is deleted the moment that
	// token ends; zero: none.
	OwnerLease Fence
	// Version changes with each write. Versions may only be compared for equality.
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
	// resources that existed when the watch began.
	Operation string
	// Resource is as it was written, or for a delete as it last was. Zero at
	// EndOfSnapshot.
	Resource Resource
	Revision Revision
	// Time is the wall clock (UTC) of the leader at the change, for information
	// only. Zero for resources that existed when the watch began.
	Time time.Time
}

// WriteResourceRequest creates or replaces a resource.
type WriteResourceRequest struct {
	// Resource is the whole resource. An empty Version requires that it does not
	// exist; else the stored version must be equal. An empty UID means the stored
	// one, or a new one. The Generation is ignored.
	Resource  Resource
	RequestID string // at most 64 bytes; empty: a library fills one in
	Attempt   uint32
	Fence     Fence
	// Strict is for storage backends: an empty UID does not match the stored one,
	// and uid, generation and owner are stored as given.
	Strict bool
	// Overwrite writes unconditionally; Version must then be empty.
	Overwrite bool
}

// DeleteResourceRequest deletes a resource. If it does not exist, or has another
// UID, nothing changes, and there is no error.
type DeleteResourceRequest struct {
	ID        ResourceID // an empty UID matches any
	Version   string     // empty: any
	RequestID string
	Attempt   uint32
	Fence     Fence
	// Strict is for storage backends: an empty UID does not match the stored one,
	// nor does an empty Version.
	Strict bool
}

// ClearResourcesRequest deletes resources by a prefix of their names.
type ClearResourcesRequest struct {
	ResourceSelection // without Wildcard
	RequestID         string
	Attempt           uint32
	Fence             Fence
}

// ResourceSelection selects the resources of a list or watch.
type ResourceSelection struct {
	Type       ResourceType // its GroupVersion is ignored: all are listed
	Tenancy    Tenancy      // either part may be Wildcard
	NamePrefix string
}

// Validate returns a ErrInvalid error that says which part is malformed.
func (s ResourceSelection) Validate() error {
	if err := validateWord("type: group", s.Type.Group, "._-", true); err != nil {
		return err
	}
	if err := validateWord("type: kind", s.Type.Kind, "_-", true); err != nil {
		return err
	}
	if len(s.NamePrefix) > limits.MaxName {
		return Errorf(ErrInvalid, "name_prefix: at most %d bytes are allowed, not %d", limits.MaxName, len(s.NamePrefix))
	}
	t := s.Tenancy
	if t.Partition == Wildcard {
		t.Partition = limits.DefaultNamespace
	}
	if t.Namespace == Wildcard {
		t.Namespace = limits.DefaultNamespace
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

// ListResourcesRequest requests a page of resources, in the order of partition,
// namespace and name.
type ListResourcesRequest struct {
	ResourceSelection
	PageSize  int // 0: 1 000, the maximum
	PageToken string
	ReadOptions
}

// ListOwnedRequest requests a page of the resources that an owner has, in the
// order of type, tenancy and name. They may be of any type.
type ListOwnedRequest struct {
	Owner     ResourceID // with its UID; it need not exist any more
	PageSize  int        // 0: 1 000, the maximum
	PageToken string
	ReadOptions
}

// WatchResourcesRequest requests the events of resources.
type WatchResourcesRequest struct {
	ResourceSelection
	// Since is exclusive. 0: the current resources first, then EndOfSnapshot, then
	// changes. A revision that the cluster has not reached is ErrInvalid.
	Since Revision
}

// Resources is implemented by agents and clients. Errors are *Error; compare them
// with errors.Is and the sentinels of this package. An empty partition or
// namespace is "default" everywhere.
type Resources interface {
	// Read returns one resource. If the ID has a UID, it must match, else the error
	// is ErrNotFound; if the resource is stored in another group version, it is
	// ErrGroupVersionMismatch, with the stored resource as a message of the API in
	// Error.Stored.
	Read(ctx context.Context, id ResourceID, o ReadOptions) (Resource, Revision, error)
	// Write creates or replaces a resource: ErrCASFailure if its version is not
	// the stored one, ErrWrongUID if its uid is not.
	Write(ctx context.Context, r WriteResourceRequest) (Answer[Resource], error)
	// Delete deletes a resource: ErrCASFailure if a version is given that is not
	// the stored one.
	Delete(ctx context.Context, r DeleteResourceRequest) (Answer[struct{}], error)
	// Clear deletes all selected resources atomically, and returns how many they were;
	// ErrTooLarge if they are more than 1 000.
	Clear(ctx context.Context, r ClearResourcesRequest) (Answer[int], error)
	List(ctx context.Context, r ListResourcesRequest) (Page[Resource], error)
	ListByOwner(ctx context.Context, r ListOwnedRequest) (Page[Resource], error)
	Watch(ctx context.Context, r WatchResourcesRequest) (Watch[ResourceEvent], error)
}
