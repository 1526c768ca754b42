package conformance

import (
	"context"
	"errors"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/storage"
)

// Scoped returns an empty store on top of one that need not be empty: it adds its
// own suffix to the groups of its resources. So tests can share a cluster.
func Scoped(s storage.Store, suffix string) storage.Store { return scoped{s, suffix} }

type scoped struct {
	store  storage.Store
	suffix string
}

func (s scoped) in(id interrex.ResourceID) interrex.ResourceID {
	if id.Type.Group != "" {
		id.Type.Group += s.suffix
	}
	return id
}

func (s scoped) out(res interrex.Resource) interrex.Resource {
	res.ID.Type.Group = strings.TrimSuffix(res.ID.Type.Group, s.suffix)
	res.Owner.Type.Group = strings.TrimSuffix(res.Owner.Type.Group, s.suffix)
	return res
}

func (s scoped) outAll(all []interrex.Resource, err error) ([]interrex.Resource, error) {
	for i := range all {
		all[i] = s.out(all[i])
	}
	return all, err
}

func (s scoped) Read(ctx context.Context, c storage.ReadConsistency, id interrex.ResourceID) (interrex.Resource, error) {
	res, err := s.store.Read(ctx, c, s.in(id))
	var mismatch storage.GroupVersionMismatchError
	if errors.As(err, &mismatch) {
		mismatch.RequestedType.Group = strings.TrimSuffix(mismatch.RequestedType.Group, s.suffix)
		mismatch.Stored = s.out(mismatch.Stored)
		return res, mismatch
	}
	return s.out(res), err
}

func (s scoped) WriteCAS(ctx context.Context, res interrex.Resource) (interrex.Resource, error) {
	res.ID, res.Owner = s.in(res.ID), s.in(res.Owner)
	res, err := s.store.WriteCAS(ctx, res)
	return s.out(res), err
}

func (s scoped) DeleteCAS(ctx context.Context, id interrex.ResourceID, version string) error {
	return s.store.DeleteCAS(ctx, s.in(id), version)
}

func (s scoped) List(ctx context.Context, c storage.ReadConsistency, t storage.UnversionedType, tenancy interrex.Tenancy, prefix string) ([]interrex.Resource, error) {
	t.Group += s.suffix
	return s.outAll(s.store.List(ctx, c, t, tenancy, prefix))
}

func (s scoped) ListByOwner(ctx context.Context, id interrex.ResourceID) ([]interrex.Resource, error) {
	return s.outAll(s.store.ListByOwner(ctx, s.in(id)))
}

func (s scoped) WatchList(ctx context.Context, t storage.UnversionedType, tenancy interrex.Tenancy, prefix string) (storage.Watch, error) {
	t.Group += s.suffix
	w, err := s.store.WatchList(ctx, t, tenancy, prefix)
	if err != nil {
		return nil, err
	}
	return scopedWatch{w, s}, nil
}

type scopedWatch struct {
	storage.Watch
	scope scoped
}

func (w scopedWatch) Next(ctx context.Context) (interrex.ResourceEvent, error) {
	e, err := w.Watch.Next(ctx)
	e.Resource = w.scope.out(e.Resource)
	return e, err
}
