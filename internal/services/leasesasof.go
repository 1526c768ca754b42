package services

import (
	"cmp"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// listAt lists leases as they were at a revision, which the list has as its own.
func (l Leases) listAt(at interrex.Revision, history change.History, scope lease.Scope, limit int, s *state.State) (*interrexv1.ListResponse, error) {
	var items []*lease.Then
	var more bool
	err := l.since(at, 0, history, scope, s, func(a *lease.AsOf, v lease.ReadView) { items, more = a.List(v, limit) })
	if err == nil {
		err = lease.Complete(items, history.UpTo(at))
	}
	if err != nil {
		return nil, err
	}
	page := &interrexv1.ListResponse{Revision: uint64(at)}
	room := MaxPageBytes
	for i, item := range items {
		held := then(item)
		page.Items = append(page.Items, held)
		if room -= proto.Size(held); room <= 0 && i < len(items)-1 {
			more = true
			break
		}
	}
	if more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

// diff is the method Diff.
func (l Leases) diff(m *interrexv1.DiffRequest, s *state.State) (*interrexv1.DiffResponse, error) {
	scope, limit, err := pageOf(m)
	if err != nil {
		return nil, err
	}
	from, to, history := interrex.Revision(m.GetFromRevision()), interrex.Revision(m.GetToRevision()), l.Feed.History()
	to = cmp.Or(to, history.Last())
	if from == 0 || from > to {
		return nil, interrex.Errorf(interrex.ErrInvalid, "from_revision: a revision from 1 to %d is required, not %d", to, from)
	}
	if err := reached("to_revision", to, history); err != nil {
		return nil, err
	}
	var items []lease.Difference
	var more bool
	err = l.since(from, to, history, scope, s, func(a *lease.AsOf, v lease.ReadView) { items, more = a.Differences(v, limit) })
	var before []*lease.Then
	for _, d := range items {
		if d.Before != nil {
			before = append(before, d.Before)
		}
	}
	if err == nil {
		err = lease.Complete(before, history.UpTo(from))
	}
	if err != nil {
		return nil, err
	}
	page := &interrexv1.DiffResponse{Revision: uint64(to)}
	room := MaxPageBytes
	for i, d := range items {
		item := &interrexv1.DiffItem{Key: d.Key.String(), Before: then(d.Before), After: then(d.After)}
		page.Items = append(page.Items, item)
		if room -= proto.Size(item); room <= 0 && i < len(items)-1 {
			more = true
			break
		}
	}
	if more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

// since calls fn, while the table cannot change, with what has happened after at: up to a
// revision, or, if that is 0, until now. history is the feed a moment ago. The error is
// ErrCompacted if that is not all.
func (l Leases) since(at, to interrex.Revision, history change.History, scope lease.Scope, s *state.State, fn func(*lease.AsOf, lease.ReadView)) error {
	if err := history.Has(at); err != nil {
		return err
	}
	a := lease.NewAsOf(at, scope)
	a.Changed(history.Between(at, cmp.Or(to, history.Last())))
	var err error
	l.Table.Read(func(v lease.ReadView) {
		if err = s.Restored().Continues(max(at, 1)); err != nil {
			return
		}
		if to == 0 { // what has come meanwhile is little
			a.Changed(l.Feed.History().Between(history.Last(), s.Revision()))
		}
		fn(a, v)
	})
	return err
}

// moment returns the revision that a list asks for; 0: it does not.
func moment(at uint64, t *timestamppb.Timestamp, history change.History, now time.Time) (interrex.Revision, error) {
	switch {
	case t == nil:
		return interrex.Revision(at), reached("at_revision", interrex.Revision(at), history)
	case at != 0:
		return 0, interrex.Errorf(interrex.ErrInvalid, "at_revision, at_time: give one of them")
	case !t.IsValid() || t.AsTime().After(now):
		return 0, interrex.Errorf(interrex.ErrInvalid, "at_time: a time in the past is required")
	}
	return history.At(t.AsTime())
}

// reached returns an error if the history does not have a revision yet.
func reached(field string, r interrex.Revision, history change.History) error {
	if r <= history.Last() {
		return nil
	}
	return interrex.Errorf(interrex.ErrInvalid, "%s: %d has not been reached: this agent is at revision %d", field, r, history.Last())
}

// paged are requests for a page of leases.
type paged interface {
	GetNamespace() string
	GetPrefix() string
	GetPageSize() uint32
	GetPageToken() string
}

// pageOf returns which leases a page may have, and how many.
func pageOf(m paged) (scope lease.Scope, limit int, err error) {
	var in wire.Reader
	scope = lease.Scope{Namespace: in.Namespace(m.GetNamespace()), Prefix: m.GetPrefix()}
	if m.GetPageSize() > MaxPage {
		in.Fail(interrex.Errorf(interrex.ErrInvalid, "page_size: %d is more than %d", m.GetPageSize(), MaxPage))
	}
	scope.After, err = parsePageToken(m.GetPageToken())
	in.Fail(err)
	return scope, cmp.Or(int(m.GetPageSize()), MaxPage), in.Err
}

// then returns the message of a lease as it was; nil for none.
func then(t *lease.Then) *interrexv1.Lease {
	if t == nil {
		return nil
	}
	return wire.Lease(interrex.Lease{Key: t.Key, Holder: t.Holder, Token: t.Token, AcquiredAt: t.Acquired, Metadata: t.Metadata.Map()})
}
