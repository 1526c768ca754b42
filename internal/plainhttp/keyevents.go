package plainhttp

import (
	"context"
	"iter"
	"net/http"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/watches"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// The kinds of server-sent events about keys, other than the errors that end them.
const (
	valueWritten = "upsert"
	valueGone    = "delete"
	valuesSent   = "end_of_snapshot"
)

// valueEvents sends changes of keys as server-sent events.
type valueEvents struct{ plainValues }

// goneValue is the JSON of a key that does not exist.
type goneValue struct {
	Key       string `json:"key"`
	Namespace string `json:"namespace"`
	Revision  uint64 `json:"revision"` // of its deletion, or at which it did not exist
}

// seenValues records which present values a stream has sent, and the revision after
// which its events begin.
type seenValues struct {
	since interrex.Revision
	*watches.SentRows
}

// one sends the value of a key, or that it does not exist, and then each change of
// it.
func (p valueEvents) one(w http.ResponseWriter, r *http.Request, id interrex.ResourceID) error {
	if err := onlyQuery(r.URL.Query(), "namespace", "since", "consistency", "min_revision"); err != nil {
		return err
	}
	watched := &interrexv1.ResourceServiceReadRequest{Id: wire.ResourceID(id)}
	if err := p.server.allowed(r, interrexv1.ResourceServiceWatchProcedure, watched); err != nil {
		return err
	}
	same := func(of *resource.Record) bool { return of.ID.Tenancy == id.Tenancy && of.ID.Name == id.Name }
	scope := interest.Scope{Table: uint16(machine.ResourceTable), Key: id.String()}
	return p.follow(w, r, scope, same, func(seen *seenValues) iter.Seq2[sentEvent, error] {
		return func(yield func(sentEvent, error) bool) {
			var row *resource.Record
			at := p.resources.Locked(p.server.checker.State, func(v resource.ReadView) { row = v.Get(id) })
			seen.Add("", false, at)
			out, err := sentEvent{kind: valueGone, data: goneValue{id.Name, id.Tenancy.Namespace, uint64(at)}}, error(nil)
			if row != nil {
				out, err = writtenEvent(wire.Resource(row.Resource()))
			}
			out.id = at
			yield(out, err)
		}
	})
}

// all sends the values of all keys with a prefix, and then each change of them.
func (p valueEvents) all(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if err := onlyQuery(q, "namespace", "prefix", "since", "consistency", "min_revision"); err != nil {
		return err
	}
	id := wire.ValueID(q.Get("namespace"), "")
	what := interrex.ResourceSelection{Type: id.Type, Tenancy: id.Tenancy, NamePrefix: q.Get("prefix")}
	if err := what.Validate(); err != nil {
		return err
	}
	watched := &interrexv1.ResourceServiceWatchRequest{Type: wire.ResourceType(what.Type), Tenancy: wire.Tenancy(what.Tenancy), NamePrefix: what.NamePrefix}
	if err := p.server.allowed(r, interrexv1.ResourceServiceWatchProcedure, watched); err != nil {
		return err
	}
	covered := func(of *resource.Record) bool { return what.Matches(of.ID) }
	scope := interest.Scope{Table: uint16(machine.ResourceTable)}
	scope.Skip, scope.Prefix = resource.EventKeys(what)
	return p.follow(w, r, scope, covered, func(seen *seenValues) iter.Seq2[sentEvent, error] {
		return func(yield func(sentEvent, error) bool) {
			since := seen.since
			for after, more := "", true; more; {
				rows := p.resources.Rows(what, p.server.checker.State, after, watches.MaxPresent)
				for key, e := range rows.All {
					after = key
					if !yield(writtenEvent(e.GetResource())) {
						return
					}
				}
				more = rows.More
				seen.Add(after, more, rows.Revision)
			}
			yield(sentEvent{id: since, kind: valuesSent, data: map[string]uint64{"revision": uint64(since)}}, nil)
		}
	})
}

// follow sends the changes of values that match. If the caller does not resume, it
// begins with the present values, and records their parts in seen.
func (p valueEvents) follow(w http.ResponseWriter, r *http.Request, scope interest.Scope, match func(*resource.Record) bool, present func(seen *seenValues) iter.Seq2[sentEvent, error]) error {
	s := p.server
	n, err := number(r.URL.Query(), "since", 64)
	if err != nil {
		return err
	}
	since, err := s.resumed(r, interrex.Revision(n))
	if err != nil {
		return err
	}
	seen := &seenValues{since: since, SentRows: watches.NewSentRows(services.CompareResources)}
	from := eventSource{setting: method.ResourcesSetting, scope: scope, show: valueEvent, match: func(e *state.Event) bool {
		row, is := e.Value.(*resource.Record)
		return is && row.ID.Type == interrex.ValueType && match(row) && !seen.Has(e)
	}}
	if since == 0 {
		if err := p.waitFresh(r); err != nil {
			return err
		}
		seen.since = s.checker.State.Revision()
		from.present = present(seen)
	}
	from.since = seen.since
	return s.events(w, r, from)
}

// waitFresh waits until this agent's state is as fresh as the request demands.
func (p valueEvents) waitFresh(r *http.Request) error {
	s, c := p.server, admission.CallerOf(r.Context())
	consistency, min, err := consistencyOf(r.URL.Query())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.checker.ReadWait)
	defer cancel()
	if consistency == interrexv1.Consistency_CONSISTENCY_EVENTUAL {
		return s.checker.WaitReached(ctx, c, interrex.Revision(min))
	}
	if err := s.checker.WaitCurrent(ctx, c); err != nil {
		return err
	}
	return s.checker.CheckReached(interrex.Revision(min))
}

// valueEvent returns the event of a change.
func valueEvent(e *state.Event) (sentEvent, error) {
	row := e.Value.(*resource.Record)
	if e.Kind == interrex.ResourceDeleted {
		return sentEvent{kind: valueGone, data: goneValue{row.ID.Name, row.ID.Tenancy.Namespace, uint64(e.Revision)}}, nil
	}
	return writtenEvent(wire.Resource(row.Resource()))
}

func writtenEvent(m *interrexv1.Resource) (sentEvent, error) {
	value, err := valueShown(m)
	return sentEvent{kind: valueWritten, data: value}, err
}
