package counters

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/examples/counters/gen/countersv1"
	"github.com/interrex/interrex/state"
)

// service returns CounterService. A method that writes makes a command from the
// request, and an answer from the reply; one that reads accesses the table.
func (t *table) service() api.Service {
	return api.Service{Methods: []api.Method{
		api.Write(countersv1.CounterServiceIncrementProcedure, ID, increment, incremented),
		api.Write(countersv1.CounterServiceSetProcedure, ID, set, wasSet),
		api.Read(countersv1.CounterServiceGetProcedure, t.answerGet),
		api.Read(countersv1.CounterServiceListProcedure, t.answerList),
	}, Watches: []api.WatchMethod{
		api.Watch[countersv1.WatchResponse](countersv1.CounterServiceWatchProcedure, t.watch, event),
	}}
}

func increment(m *countersv1.IncrementRequest) (state.Command, error) {
	k, err := interrex.ParseKey(m.GetKey())
	return &Increment{Key: k, By: m.GetBy(), Limit: m.GetLimit()}, err
}

func incremented(r state.Result, s state.State) (*countersv1.IncrementResponse, error) {
	return &countersv1.IncrementResponse{Counter: present(r.Reply.(Record), s), Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func set(m *countersv1.SetRequest) (state.Command, error) {
	k, err := interrex.ParseKey(m.GetKey())
	return &Set{Key: k, Value: m.GetValue(), TTL: m.GetTtl().AsDuration()}, err
}

func wasSet(r state.Result, s state.State) (*countersv1.SetResponse, error) {
	return &countersv1.SetResponse{Counter: present(r.Reply.(Record), s), Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func (t *table) answerGet(m *countersv1.GetRequest, s state.State) (*countersv1.GetResponse, error) {
	k, err := interrex.ParseKey(m.GetKey())
	if err != nil {
		return nil, err
	}
	r, there, at := t.get(k, s)
	if !there {
		return nil, interrex.Errorf(interrex.ErrNotFound, "there is no counter %s at revision %d", k, at)
	}
	return &countersv1.GetResponse{Counter: present(r, s), Revision: uint64(at)}, nil
}

func (t *table) answerList(m *countersv1.ListRequest, s state.State) (*countersv1.ListResponse, error) {
	page, more, at := t.list("", m.GetAfter(), MaxPage, s)
	out := &countersv1.ListResponse{Revision: uint64(at)}
	for _, r := range page {
		out.Items = append(out.Items, present(r, s))
	}
	if more {
		out.NextAfter = page[len(page)-1].Key.String()
	}
	return out, nil
}

// present returns a counter as users see it.
func present(r Record, s state.State) *countersv1.Counter {
	m := &countersv1.Counter{Key: r.Key.String(), Value: r.Value}
	if r.Expiry != 0 {
		now, _ := s.Estimate()
		m.Remaining = durationpb.New(max(time.Nanosecond, r.Expiry.Sub(now)))
	}
	return m
}
