package services

import (
	"cmp"
	"encoding/base64"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Resources implements ResourceService.
type Resources struct {
	Table *resource.Table
}

// Service returns the methods.
func (r Resources) Service() method.Service {
	return method.Service{Setting: method.ResourcesSetting, Data: r.data, Methods: []method.Method{
		method.AtOnce(method.Read(interrexv1.ResourceServiceReadProcedure, r.read)),
		method.Echo(interrexv1.ResourceServiceWriteProcedure, machine.ResourceTable, resourceToWrite, resourceWritten),
		method.Write(interrexv1.ResourceServiceDeleteProcedure, machine.ResourceTable, deleteResource, resourceDeleted),
		method.Write(interrexv1.ResourceServiceClearProcedure, machine.ResourceTable, clearResources, resourcesCleared),
		method.Write(interrexv1.ResourceServiceCheckProcedure, machine.ResourceTable, checkResource, resourceChecked),
		method.Eventually(method.Read(interrexv1.ResourceServiceListProcedure, r.list)),
		method.Eventually(method.Read(interrexv1.ResourceServiceListByOwnerProcedure, r.listByOwner)),
	}, Watches: []method.Watch{
		method.NewWatch(api.Watch[interrexv1.ResourceServiceWatchResponse](interrexv1.ResourceServiceWatchProcedure, r.watch, r.event)),
	}}
}

// data returns the JSON of the resource of an event.
func (r Resources) data(e *state.Event, _ state.State) ([]byte, error) {
	row, is := e.Value.(*resource.Record)
	if !is {
		return []byte("null"), nil
	}
	return wire.AppendJSON(nil, wire.Resource(row.Resource()))
}

// resourceWritten returns the response to a write: the resource of the request, with
// the fields that the table set. A recorded result has only those.
func resourceWritten(m *interrexv1.ResourceServiceWriteRequest, r state.Result) (*interrexv1.ResourceServiceWriteResponse, error) {
	reply, is := r.Reply.(*resource.Reply)
	if !is {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	written, err := wire.FromResource(m.GetResource())
	if err != nil {
		return nil, err
	}
	return &interrexv1.ResourceServiceWriteResponse{
		Resource: wire.Resource(reply.Resource(written)), Replayed: r.Replayed, Revision: uint64(r.Revision),
	}, nil
}

func resourceToWrite(m *interrexv1.ResourceServiceWriteRequest) (state.Command, error) {
	if m.GetResource() == nil {
		return &resource.Write{}, interrex.Errorf(interrex.ErrInvalid, "resource: missing")
	}
	r, err := wire.FromResource(m.GetResource())
	if err == nil {
		err = validateValue(r)
	}
	if err != nil {
		return nil, err
	}
	c := &resource.Write{ID: r.ID, Version: r.Version, Data: r.Data, Strict: m.GetStrict(), Overwrite: m.GetOverwrite()}
	if c.Strict {
		c.Generation = r.Generation
	}
	if m.GetResource().Owner != nil {
		c.Owner = &r.Owner
	}
	if r.OwnerLease != (interrex.Fence{}) {
		c.OwnerLease = &r.OwnerLease
	}
	c.Metadata, err = codec.NewMetadata(r.Metadata)
	return c, cmp.Or(validation.Plain("generation", c.Generation), validation.Plain("data: its type URL", c.Data.TypeURL), err)
}

// validateValue refuses a resource of the built-in type whose data is not a value.
func validateValue(r interrex.Resource) error {
	if r.ID.Type.Group != interrex.ValueType.Group || r.ID.Type.Kind != interrex.ValueType.Kind {
		return nil
	}
	if r.ID.Type != interrex.ValueType {
		return interrex.Errorf(interrex.ErrInvalid, "type: group_version: %q: the built-in type is %s", r.ID.Type.GroupVersion, interrex.ValueType)
	}
	_, err := wire.FromValue(r.Data)
	return err
}

func deleteResource(m *interrexv1.ResourceServiceDeleteRequest) (state.Command, error) {
	return &resource.Delete{ID: wire.FromResourceID(m.GetId()), Version: m.GetVersion(), Strict: m.GetStrict()}, nil
}

func resourceDeleted(r state.Result, _ state.State) (*interrexv1.ResourceServiceDeleteResponse, error) {
	return &interrexv1.ResourceServiceDeleteResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func checkResource(m *interrexv1.ResourceServiceCheckRequest) (state.Command, error) {
	return &resource.Check{ID: wire.FromResourceID(m.GetId()), Version: m.GetVersion()}, nil
}

func resourceChecked(r state.Result, _ state.State) (*interrexv1.ResourceServiceCheckResponse, error) {
	return &interrexv1.ResourceServiceCheckResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func clearResources(m *interrexv1.ResourceServiceClearRequest) (state.Command, error) {
	return &resource.Clear{Selection: selection(m.GetType(), m.GetTenancy(), m.GetNamePrefix())}, nil
}

func resourcesCleared(r state.Result, _ state.State) (*interrexv1.ResourceServiceClearResponse, error) {
	reply, is := r.Reply.(*resource.Reply)
	if !is {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	return &interrexv1.ResourceServiceClearResponse{Deleted: uint32(reply.Cleared), Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func (r Resources) read(m *interrexv1.ResourceServiceReadRequest, s state.State) (*interrexv1.ResourceServiceReadResponse, error) {
	id := wire.FromResourceID(m.GetId())
	if err := id.Validate(); err != nil {
		return nil, err
	}
	var row *resource.Record
	revision := r.Locked(s, func(v resource.ReadView) { row = v.Get(id) })
	if row == nil {
		return nil, interrex.Errorf(interrex.ErrNotFound, "%s%s does not exist at revision %d", id, withUID(id), revision)
	}
	found := wire.Resource(row.Resource())
	if id.Type.GroupVersion != row.ID.Type.GroupVersion {
		return nil, otherGroupVersion(id, row, found)
	}
	return &interrexv1.ResourceServiceReadResponse{Resource: found, Revision: uint64(revision)}, nil
}

func withUID(id interrex.ResourceID) string {
	if id.UID == "" {
		return ""
	}
	return " with uid " + id.UID
}

// otherGroupVersion returns an error with the stored resource, so that the caller can
// convert it.
func otherGroupVersion(id interrex.ResourceID, row *resource.Record, found *interrexv1.Resource) error {
	stored, err := proto.Marshal(found)
	if err != nil {
		return interrex.Errorf(interrex.ErrUnavailable, "cannot encode %s: %v", id, err)
	}
	e := interrex.Errorf(interrex.ErrGroupVersionMismatch, "%s is stored in group version %s, and %s was requested", id, row.ID.Type.GroupVersion, id.Type.GroupVersion)
	e.Stored = stored
	return e
}

func (r Resources) list(m *interrexv1.ResourceServiceListRequest, s state.State) (*interrexv1.ResourceServiceListResponse, error) {
	what := selection(m.GetType(), m.GetTenancy(), m.GetNamePrefix())
	after, err := pageAfter(m.GetPageSize(), m.GetPageToken(), resource.Beginning(what))
	if err == nil {
		err = what.Validate()
	}
	if err == nil {
		err = validateNames(m)
	}
	if err != nil {
		return nil, err
	}
	if m.GetNamesOnly() {
		return r.names(m, what, after, s), nil
	}
	var rows []*resource.Record
	var more bool
	revision := r.Locked(s, func(v resource.ReadView) { rows, more = v.List(what, after, cmp.Or(int(m.GetPageSize()), MaxPage)) })
	items, next := resourcePage(rows, more)
	return &interrexv1.ResourceServiceListResponse{Items: items, NextPageToken: next, Revision: uint64(revision)}, nil
}

func validateNames(m *interrexv1.ResourceServiceListRequest) error {
	switch t := m.GetTenancy(); {
	case !m.GetNamesOnly() && m.GetSeparator() != "":
		return interrex.Errorf(interrex.ErrInvalid, "separator: allowed only with names_only")
	case len(m.GetSeparator()) > limits.MaxName:
		return interrex.Errorf(interrex.ErrInvalid, "separator: at most %d bytes are allowed, not %d", limits.MaxName, len(m.GetSeparator()))
	case m.GetNamesOnly() && (t.GetPartition() == interrex.Wildcard || t.GetNamespace() == interrex.Wildcard):
		return interrex.Errorf(interrex.ErrInvalid, "names_only: allowed only with one partition and one namespace")
	}
	return nil
}

// names lists only names; it skips the rest of the names that a listed prefix covers.
func (r Resources) names(m *interrexv1.ResourceServiceListRequest, what interrex.ResourceSelection, after string, s state.State) *interrexv1.ResourceServiceListResponse {
	const behind = "\xff" // sorts after every continuation: no name contains it
	out := &interrexv1.ResourceServiceListResponse{}
	size, bytes := cmp.Or(int(m.GetPageSize()), MaxPage), 0
	out.Revision = uint64(r.Locked(s, func(v resource.ReadView) {
		for {
			rows, _ := v.List(what, after, 1)
			if len(rows) == 0 {
				return
			}
			if len(out.Names) == size || bytes >= MaxPageBytes {
				out.NextPageToken = resourceToken(after)
				return
			}
			name := rows[0].ID.Name
			after = rows[0].Key()
			rest := name[len(what.NamePrefix):]
			if i := strings.Index(rest, m.GetSeparator()); m.GetSeparator() != "" && i >= 0 {
				end := i + len(m.GetSeparator())
				after = strings.TrimSuffix(after, rest[end:]) + behind
				name = strings.TrimSuffix(name, rest[end:])
			}
			out.Names = append(out.Names, name)
			bytes += len(name)
		}
	}))
	return out
}

func (r Resources) listByOwner(m *interrexv1.ResourceServiceListByOwnerRequest, s state.State) (*interrexv1.ResourceServiceListByOwnerResponse, error) {
	owner := wire.FromResourceID(m.GetOwner())
	after, err := pageAfter(m.GetPageSize(), m.GetPageToken(), "")
	if err == nil {
		err = owner.Validate()
	}
	if err == nil && owner.UID == "" {
		err = interrex.Errorf(interrex.ErrInvalid, "owner: uid: missing: read %s to get it: a later resource of that name owns other resources", owner)
	}
	if err != nil {
		return nil, err
	}
	var rows []*resource.Record
	var more bool
	revision := r.Locked(s, func(v resource.ReadView) {
		rows, more = v.ListByOwner(owner, after, cmp.Or(int(m.GetPageSize()), MaxPage))
	})
	items, next := resourcePage(rows, more)
	return &interrexv1.ResourceServiceListByOwnerResponse{Items: items, NextPageToken: next, Revision: uint64(revision)}, nil
}

// selection returns the selection of a list or a watch.
func selection(t *interrexv1.ResourceType, tenancy *interrexv1.Tenancy, prefix string) interrex.ResourceSelection {
	return interrex.ResourceSelection{Type: wire.FromResourceType(t), Tenancy: wire.FromTenancy(tenancy), NamePrefix: prefix}
}

// resourcePage returns the items of a page, which ends at MaxPageBytes, and the
// token of the next page.
func resourcePage(rows []*resource.Record, more bool) (items []*interrexv1.Resource, next string) {
	resourceOf := func(r *resource.Record) *interrexv1.Resource { return wire.Resource(r.Resource()) }
	if items, more = pageOf(rows, more, resourceOf); more {
		next = resourceToken(rows[len(items)-1].Key())
	}
	return items, next
}

func resourceToken(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

// pageAfter returns the key in a page token: that of the last row of the previous
// page, with the beginning that all keys of the list have. Its format is not part of
// the API.
func pageAfter(size uint32, token, beginning string) (string, error) {
	if size > MaxPage {
		return "", interrex.Errorf(interrex.ErrInvalid, "page_size: %d is more than %d", size, MaxPage)
	}
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(after) > 0 && !strings.HasPrefix(string(after), beginning) {
		return "", errPageToken(token)
	}
	return string(after), nil
}

// Locked calls fn while the table cannot change, and returns the table's revision.
func (r Resources) Locked(s state.State, fn func(resource.ReadView)) (revision interrex.Revision) {
	r.Table.Read(func(v resource.ReadView) {
		fn(v)
		revision = s.Revision()
	})
	return revision
}

// watch returns the feed of a request for resource events.
func (r Resources) watch(m *interrexv1.ResourceServiceWatchRequest, s state.State) (api.Feed[*interrexv1.ResourceEvent], error) {
	what := selection(m.GetType(), m.GetTenancy(), m.GetNamePrefix())
	if err := what.Validate(); err != nil {
		return api.Feed[*interrexv1.ResourceEvent]{}, err
	}
	skip, prefix := resource.EventKeys(what)
	return api.Feed[*interrexv1.ResourceEvent]{
		Since: interrex.Revision(m.GetSince()),
		Match: func(e *state.Event) bool {
			row, is := e.Value.(*resource.Record)
			return is && what.Matches(row.ID)
		},
		Scope: api.Scope{Table: machine.ResourceTable, Skip: skip, Prefix: prefix},
		Snapshot: &api.Snapshot[*interrexv1.ResourceEvent]{
			Rows:    func(after string, most int) api.Rows[*interrexv1.ResourceEvent] { return r.Rows(what, s, after, most) },
			Compare: CompareResources,
			End: func(at interrex.Revision) *interrexv1.ResourceEvent {
				return wire.ResourceEvent(interrex.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: at})
			},
		},
	}, nil
}

// CompareResources orders the keys of resources' events as lists do.
func CompareResources(a, b string) int { return strings.Compare(resource.Key(a), resource.Key(b)) }

// Rows reads resources under the table's lock, and makes their events outside it.
func (r Resources) Rows(what interrex.ResourceSelection, s state.State, after string, most int) (out api.Rows[*interrexv1.ResourceEvent]) {
	if after != "" {
		after = resource.Key(after)
	}
	var items []*resource.Record
	out.Revision = r.Locked(s, func(v resource.ReadView) { items, out.More = v.List(what, after, most) })
	out.All = func(yield func(string, *interrexv1.ResourceEvent) bool) {
		for _, row := range items {
			e := interrex.ResourceEvent{Operation: interrex.ResourceUpsert, Resource: row.Resource(), Revision: out.Revision}
			if !yield(row.ID.String(), wire.ResourceEvent(e)) {
				return
			}
		}
	}
	return out
}

// event returns the message of an event of the table of resources.
func (r Resources) event(e *state.Event, _ state.State) (*interrexv1.ResourceEvent, error) {
	out := interrex.ResourceEvent{Operation: interrex.ResourceUpsert, Revision: e.Revision, Time: e.Wall}
	if e.Kind == interrex.ResourceDeleted {
		out.Operation = interrex.ResourceDelete
	}
	if row, is := e.Value.(*resource.Record); is {
		out.Resource = row.Resource()
	}
	return wire.ResourceEvent(out), nil
}
