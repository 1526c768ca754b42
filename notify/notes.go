package notify

import (
	"iter"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// scope is the scope of the events that change a holder.
func scope() interest.Scope { return interest.Scope{Table: uint16(machine.LeaseTable)} }

// concerns reports whether an event changes a holder.
func concerns(e *state.Event) bool {
	_, is := e.Value.(lease.Record)
	return is && (grants(e.Kind) || ending(e.Kind) != "")
}

func grants(kind string) bool {
	return kind == interrex.LeaseClaimed || kind == interrex.LeaseTakenOver || kind == interrex.LeaseTransferred
}

// ending returns how an event of that kind ends a lease; "" if it does not.
func ending(kind string) interrex.Ending {
	switch kind {
	case interrex.LeaseExpired:
		return interrex.EndExpired
	case interrex.LeaseReleased:
		return interrex.EndReleased
	case interrex.LeaseForced:
		return interrex.EndForced
	}
	return ""
}

// tell passes events to a target, in order: consecutive ends in one call.
func tell(t NotifyTarget, events []state.Event) error {
	var ended []Expired
	for _, e := range events {
		l := e.Value.(lease.Record)
		if how := ending(e.Kind); how != "" {
			ended = append(ended, Expired{
				Key: l.Key, Holder: l.Holder, Token: l.Token,
				EndedAt: e.Wall, Revision: e.Revision, How: how,
			})
			continue
		}
		if len(ended) > 0 {
			if err := t.Expirations(ended); err != nil {
				return err
			}
			ended = nil
		}
		if err := t.Claimed(claimed(l, e.Revision, e.Kind)); err != nil {
			return err
		}
	}
	if len(ended) > 0 {
		return t.Expirations(ended)
	}
	return nil
}

func claimed(l lease.Record, revision interrex.Revision, kind string) Claimed {
	return Claimed{
		Key: l.Key, Holder: l.Holder, Token: l.Token, TTL: l.TTL,
		AcquiredAt: l.Acquired, Revision: revision, Kind: kind,
	}
}

// present returns all existing leases, page by page.
func present(all leases) iter.Seq2[[]Claimed, error] {
	return func(yield func([]Claimed, error) bool) {
		var after interrex.Key
		for more := true; more; {
			var items []lease.Record
			items, more = all.List("", "", after, 0)
			if len(items) == 0 {
				return
			}
			page := make([]Claimed, len(items))
			for i, l := range items {
				page[i] = claimed(l, interrex.Revision(l.Token), interrex.LeasePresent)
			}
			after = items[len(items)-1].Key
			if !yield(page, nil) {
				return
			}
		}
	}
}
