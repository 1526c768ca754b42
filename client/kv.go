package client

import (
	"context"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// KV provides keys with values: resources of the type interrex.ValueType, in the
// partition "default".
type KV struct {
	// By makes the calls: a *Client or an *agent.Agent.
	By Caller
	// Namespace of the keys; empty: "default". List and Watch take
	// interrex.Wildcard for all.
	Namespace string
}

// Value is a key with its value.
type Value struct {
	Key       string
	Namespace string
	Value     []byte
	Version   string // for Put and Delete
}

// Absent, as a version, means that the key must not exist.
const Absent = wire.AbsentValue

// Get returns the value of a key; ErrNotFound if it does not exist.
func (kv KV) Get(ctx context.Context, key string, o interrex.ReadOptions) (Value, error) {
	r, _, err := Through(kv.By).Resources().Read(ctx, wire.ValueID(kv.Namespace, key), o)
	if err != nil {
		return Value{}, kv.named(err)
	}
	return ValueOf(r)
}

// Put writes a value: with an empty version unconditionally, else only if version
// is the stored one, or is Absent and the key does not exist. Otherwise the error is
// ErrCASFailure.
func (kv KV) Put(ctx context.Context, key string, value []byte, version string, o Options) (Value, error) {
	data, err := wire.Value(value)
	if err != nil {
		return Value{}, err
	}
	q := interrex.WriteResourceRequest{
		Resource:  interrex.Resource{ID: wire.ValueID(kv.Namespace, key), Version: version, Data: data},
		RequestID: o.RequestID, Attempt: o.Attempt, Fence: o.Fence,
	}
	switch version {
	case "":
		q.Overwrite = true
	case Absent:
		q.Resource.Version = ""
	}
	a, err := Through(kv.By).Resources().Write(ctx, q)
	return Value{Key: key, Namespace: q.Resource.ID.Tenancy.Namespace, Value: slices.Clone(value), Version: a.Value.Version}, kv.named(err)
}

// Delete deletes a key: any version of it, or only that one. Deleting a missing
// key is not an error.
func (kv KV) Delete(ctx context.Context, key, version string, o Options) error {
	_, err := Through(kv.By).Resources().Delete(ctx, interrex.DeleteResourceRequest{
		ID: wire.ValueID(kv.Namespace, key), Version: version, RequestID: o.RequestID, Attempt: o.Attempt, Fence: o.Fence,
	})
	return kv.named(err)
}

// Clear deletes all keys with a prefix atomically, and returns their number;
// ErrTooLarge if there are more than 1 000.
func (kv KV) Clear(ctx context.Context, prefix string, o Options) (int, error) {
	a, err := Through(kv.By).Resources().Clear(ctx, interrex.ClearResourcesRequest{
		ResourceSelection: kv.selection(prefix), RequestID: o.RequestID, Attempt: o.Attempt, Fence: o.Fence,
	})
	return a.Value, kv.named(err)
}

// List returns all keys with a prefix and their values, in order, and the
// revision of the last page. A long list is read in pages, each of one moment.
func (kv KV) List(ctx context.Context, prefix string, o interrex.ReadOptions) ([]Value, interrex.Revision, error) {
	q := interrex.ListResourcesRequest{ResourceSelection: kv.selection(prefix), ReadOptions: o}
	var all []Value
	for {
		p, err := Through(kv.By).Resources().List(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range p.Items {
			v, err := ValueOf(r)
			if err != nil {
				return nil, 0, err
			}
			all = append(all, v)
		}
		if q.PageToken = p.NextPageToken; q.PageToken == "" {
			return all, p.Revision, nil
		}
	}
}

// Watch yields the changes of the keys with a prefix: see interrex.Resources.
// ValueOf reads its events' resources.
func (kv KV) Watch(ctx context.Context, prefix string, since interrex.Revision) (interrex.Watch[interrex.ResourceEvent], error) {
	return Through(kv.By).Resources().Watch(ctx, interrex.WatchResourcesRequest{ResourceSelection: kv.selection(prefix), Since: since})
}

// named rewrites an error with the keys as they are in the namespace.
func (kv KV) named(err error) error { return wire.KeyError(kv.Namespace, err) }

func (kv KV) selection(prefix string) interrex.ResourceSelection {
	id := wire.ValueID(kv.Namespace, "")
	return interrex.ResourceSelection{Type: id.Type, Tenancy: id.Tenancy, NamePrefix: prefix}
}

// ValueOf reads a resource of the type interrex.ValueType.
func ValueOf(r interrex.Resource) (Value, error) {
	b, err := wire.FromValue(r.Data)
	return Value{Key: r.ID.Name, Namespace: r.ID.Tenancy.Namespace, Value: b, Version: r.Version}, understood(err)
}
