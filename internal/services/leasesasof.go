package services

import (
	"cmp"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
)

// getAt returns a lease as it was.
func (l Leases) getAt(m *interrexv1.GetRequest, k interrex.Key, s *machine.State) (*interrexv1.GetResponse, error) {
	history := l.Feed.History()
	at, err := moment(m, history, s)
	if err != nil {
		return nil, err
	}
	// Of the names with that prefix it comes first.
	items, _, err := l.asOf(at, history, lease.Scope{Namespace: k.Namespace, Prefix: k.Name}, 1, s)
	if err != nil {
		return nil, err
	}
	items = slices.DeleteFunc(items, func(t *lease.Then) bool { return t.Key != k })
	if err := l.complete(at, items, history, s); err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, interrex.Errorf(interrex.ErrNotFound, "nobody held %s at revision %d", k, at)
	}
	return &interrexv1.GetResponse{Lease: then(items[0]), Revision: uint64(at)}, nil
}

// listAt lists leases as they were at a revision.
func (l Leases) listAt(at interrex.Revision, history change.History, scope lease.Scope, limit int, s *machine.State) (*interrexv1.ListResponse, error) {
	items, more, err := l.asOf(at, history, scope, limit, s)
	if err != nil {
		return nil, err
	}
	if err := l.complete(at, items, history, s); err != nil {
		return nil, err
	}
	page := &interrexv1.ListResponse{Revision: uint64(at)}
	if page.Items, more = pageOf(items, more, then); more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

// asOf returns the first leases of a scope at a revision, which are to be completed.
func (l Leases) asOf(at interrex.Revision, history change.History, scope lease.Scope, limit int, s *machine.State) (items []*lease.Then, more bool, err error) {
	a := lease.NewAsOf(at, scope)
	a.Changed(history.Between(at, history.Last()))
	var unchanged []lease.Record
	var gap error
	l.locked(s, func(v lease.ReadView) {
		latest := l.Feed.History() // few events have come since, so that this takes no time
		gap = latest.Has(history.Last())
		a.Changed(latest.Between(history.Last(), latest.Last()))
		unchanged = a.Unchanged(v, limit+1)
	})
	if gap != nil {
		return nil, false, gap
	}
	items, more = a.List(unchanged, limit)
	return items, more, nil
}

// diff is the method Diff.
func (l Leases) diff(m *interrexv1.DiffRequest, s *machine.State) (*interrexv1.DiffResponse, error) {
	scope, limit, err := requested(m)
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
	a := lease.NewAsOf(from, scope)
	a.Changed(history.Between(from, to))
	items, more := a.Differences(limit)
	var before []*lease.Then
	for _, d := range items {
		if d.Before != nil {
			before = append(before, d.Before)
		}
	}
	if err := l.complete(from, before, history, s); err != nil {
		return nil, err
	}
	page := &interrexv1.DiffResponse{Revision: uint64(to)}
	if page.Items, more = pageOf(items, more, difference); more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

// complete completes leases of a revision. The error is ErrCompacted if what has happened
// since is no longer kept, or a restore has ended the history.
func (l Leases) complete(at interrex.Revision, items []*lease.Then, history change.History, s *machine.State) error {
	if err := history.Has(at); err != nil {
		return err
	}
	if to := s.Restored().To; at < to {
		err := interrex.Errorf(interrex.ErrCompacted, "who held a lease before revision %d is no longer known, since a snapshot was restored there: request that revision or a later one", to)
		err.FirstRevision = to
		return err
	}
	return lease.Complete(items, history.UpTo(at), l.Table.History)
}

// moment returns the revision that a request asks for.
func moment(m method.OfThePast, history change.History, s *machine.State) (interrex.Revision, error) {
	at, t := m.GetAtRevision(), m.GetAtTime()
	_, now := s.Estimate()
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

// requested returns which leases a page may have, and how many.
func requested(m paged) (scope lease.Scope, limit int, err error) {
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

func difference(d lease.Difference) *interrexv1.DiffItem {
	return &interrexv1.DiffItem{Key: d.Key.String(), Before: then(d.Before), After: then(d.After)}
}
