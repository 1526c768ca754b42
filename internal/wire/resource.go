package wire

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// resource is a resource's message with its nested messages, in one allocation.
type resource struct {
	resource interrexv1.Resource
	id       resourceID
	data     anypb.Any
}

// BlankResource returns an empty message of a resource to decode into, whose nested
// messages are empty too.
func BlankResource() *interrexv1.Resource {
	all := new(resource)
	all.resource.Id, all.resource.Data = all.id.set(interrex.ResourceID{}), &all.data
	return &all.resource
}

// Resource returns the message of a resource, which shares its metadata and data.
func Resource(r interrex.Resource) *interrexv1.Resource {
	all := new(resource)
	m := &all.resource
	m.Id, m.OwnerLease = all.id.set(r.ID), Fence(r.OwnerLease)
	m.Version, m.Generation, m.Metadata = r.Version, r.Generation, r.Metadata
	if r.Owner != (interrex.ResourceID{}) {
		m.Owner = ResourceID(r.Owner)
	}
	if r.Data.TypeURL != "" || len(r.Data.Value) > 0 {
		m.Data = &all.data
		m.Data.TypeUrl, m.Data.Value = r.Data.TypeURL, r.Data.Value
	}
	return m
}

// FromResource converts a resource, and fills in its tenancy and that of its owner.
// It shares the message's metadata and data. nil is the zero Resource.
func FromResource(m *interrexv1.Resource) (interrex.Resource, error) {
	if m == nil {
		return interrex.Resource{}, nil
	}
	var in Reader
	r := interrex.Resource{
		ID: FromResourceID(m.GetId()), OwnerLease: in.fence("owner_lease", m.GetOwnerLease()),
		Version: m.GetVersion(), Generation: m.GetGeneration(), Metadata: m.GetMetadata(),
		Data: interrex.ResourceData{TypeURL: m.GetData().GetTypeUrl(), Value: m.GetData().GetValue()},
	}
	if m.Owner != nil {
		r.Owner = FromResourceID(m.Owner)
	}
	return r, in.Err
}

// resourceID is an ID's message with its nested messages, in one allocation.
type resourceID struct {
	id      interrexv1.ResourceID
	kind    interrexv1.ResourceType
	tenancy interrexv1.Tenancy
}

func (m *resourceID) set(id interrex.ResourceID) *interrexv1.ResourceID {
	m.kind.Group, m.kind.GroupVersion, m.kind.Kind = id.Type.Group, id.Type.GroupVersion, id.Type.Kind
	m.tenancy.Partition, m.tenancy.Namespace = id.Tenancy.Partition, id.Tenancy.Namespace
	m.id.Type, m.id.Tenancy, m.id.Name, m.id.Uid = &m.kind, &m.tenancy, id.Name, id.UID
	return &m.id
}

// ResourceID returns the message of an ID.
func ResourceID(id interrex.ResourceID) *interrexv1.ResourceID {
	return new(resourceID).set(id)
}

// FromResourceID converts an ID, and fills in its tenancy.
func FromResourceID(m *interrexv1.ResourceID) interrex.ResourceID {
	return interrex.ResourceID{
		Type: FromResourceType(m.GetType()), Tenancy: FromTenancy(m.GetTenancy()), Name: m.GetName(), UID: m.GetUid(),
	}
}

// ResourceType returns the message of a type.
func ResourceType(t interrex.ResourceType) *interrexv1.ResourceType {
	return &interrexv1.ResourceType{Group: t.Group, GroupVersion: t.GroupVersion, Kind: t.Kind}
}

// FromResourceType converts a type.
func FromResourceType(m *interrexv1.ResourceType) interrex.ResourceType {
	return interrex.ResourceType{Group: m.GetGroup(), GroupVersion: m.GetGroupVersion(), Kind: m.GetKind()}
}

// Tenancy returns the message of a tenancy.
func Tenancy(t interrex.Tenancy) *interrexv1.Tenancy {
	return &interrexv1.Tenancy{Partition: t.Partition, Namespace: t.Namespace}
}

// FromTenancy converts a tenancy, and fills in empty fields.
func FromTenancy(m *interrexv1.Tenancy) interrex.Tenancy {
	return interrex.Tenancy{Partition: m.GetPartition(), Namespace: m.GetNamespace()}.WithDefaults()
}

// ResourceEvent returns the message of an event. The event that ends a snapshot has
// no resource.
func ResourceEvent(e interrex.ResourceEvent) *interrexv1.ResourceEvent {
	m := &interrexv1.ResourceEvent{Operation: e.Operation, Revision: uint64(e.Revision), Time: Timestamp(e.Time)}
	if e.Operation != interrex.EndOfSnapshot {
		m.Resource = Resource(e.Resource)
	}
	return m
}

// FromResourceEvent converts an event.
func FromResourceEvent(m *interrexv1.ResourceEvent) (interrex.ResourceEvent, error) {
	r, err := FromResource(m.GetResource())
	var in Reader
	in.Fail(err)
	e := interrex.ResourceEvent{Operation: m.GetOperation(), Resource: r, Revision: interrex.Revision(m.GetRevision()), Time: in.Time("time", m.GetTime())}
	return e, in.Err
}

// Document returns the data of a plain document. Equal documents have equal bytes.
func Document(s *structpb.Struct) (interrex.ResourceData, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return interrex.ResourceData{}, interrex.Errorf(interrex.ErrInvalid, "data: %v", err)
	}
	return interrex.ResourceData{TypeURL: structURL, Value: value}, nil
}

// structURL is the type URL of a plain document.
const structURL = "type.googleapis.com/google.protobuf.Struct"

// FromDocument returns the plain document in d; false if it is of another type.
func FromDocument(d interrex.ResourceData) (*structpb.Struct, bool) {
	s := &structpb.Struct{}
	if d.TypeURL != structURL || proto.Unmarshal(d.Value, s) != nil {
		return nil, false
	}
	return s, true
}
