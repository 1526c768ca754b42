package counters

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/examples/counters/gen/countersv1"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Client counts in a cluster. Its errors are *interrex.Error.
type Client struct {
	// By makes the calls: a *client.Client or an *agent.Agent.
	By client.Caller
}

// Counter is a counter as an agent returns it.
type Counter struct {
	Key       interrex.Key
	Value     uint64
	Remaining time.Duration // an estimate; 0: it does not end
}

// Answer is the result of a write.
type Answer struct {
	Counter  Counter // after the write
	Replayed bool    // an earlier attempt did it; nothing was done again
	Revision interrex.Revision
}

// Increment adds to a counter. A result above c.Limit is ErrConflict.
func (c Client) Increment(ctx context.Context, in Increment, o client.Options) (Answer, error) {
	m, err := client.Call[countersv1.IncrementRequest, countersv1.IncrementResponse](ctx, c.By, countersv1.CounterServiceIncrementProcedure,
		&countersv1.IncrementRequest{Key: in.Key.String(), By: in.By, Limit: in.Limit}, o)
	return answer(m, err)
}

// Set sets a counter to a value.
func (c Client) Set(ctx context.Context, in Set, o client.Options) (Answer, error) {
	m, err := client.Call[countersv1.SetRequest, countersv1.SetResponse](ctx, c.By, countersv1.CounterServiceSetProcedure,
		&countersv1.SetRequest{Key: in.Key.String(), Value: in.Value, Ttl: durationpb.New(in.TTL)}, o)
	return answer(m, err)
}

// Get returns a counter, and the revision at which it was read. A counter that
// does not exist is ErrNotFound.
func (c Client) Get(ctx context.Context, k interrex.Key, o interrex.ReadOptions) (Counter, interrex.Revision, error) {
	m, err := client.Call[countersv1.GetRequest, countersv1.GetResponse](ctx, c.By, countersv1.CounterServiceGetProcedure,
		&countersv1.GetRequest{Key: k.String(), Consistency: consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, client.Options{})
	if err != nil {
		return Counter{}, 0, err
	}
	counter, err := counterOf(m.GetCounter())
	return counter, interrex.Revision(m.GetRevision()), err
}

// List returns a page of at most MaxPage counters after a key, which is empty
// for the first page. next is the key for the next one; empty: this was the
// last.
func (c Client) List(ctx context.Context, after string, o interrex.ReadOptions) (page []Counter, next string, err error) {
	m, err := client.Call[countersv1.ListRequest, countersv1.ListResponse](ctx, c.By, countersv1.CounterServiceListProcedure,
		&countersv1.ListRequest{After: after, Consistency: consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, client.Options{})
	for _, item := range m.GetItems() {
		counter, wrong := counterOf(item)
		if wrong != nil {
			return nil, "", wrong
		}
		page = append(page, counter)
	}
	return page, m.GetNextAfter(), err
}

// answer reads the answer of a write.
func answer(m interface {
	GetCounter() *countersv1.Counter
	GetReplayed() bool
	GetRevision() uint64
}, err error) (Answer, error) {
	if err != nil {
		return Answer{}, err
	}
	counter, err := counterOf(m.GetCounter())
	return Answer{Counter: counter, Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, err
}

func counterOf(m *countersv1.Counter) (Counter, error) {
	k, err := interrex.ParseKey(m.GetKey())
	if err != nil {
		return Counter{}, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the agent's answer: %v", err)
	}
	return Counter{Key: k, Value: m.GetValue(), Remaining: m.GetRemaining().AsDuration()}, nil
}

func consistency(c interrex.Consistency) interrexv1.Consistency {
	switch c {
	case interrex.Eventual:
		return interrexv1.Consistency_CONSISTENCY_EVENTUAL
	case interrex.Strong:
		return interrexv1.Consistency_CONSISTENCY_STRONG
	}
	return interrexv1.Consistency_CONSISTENCY_UNSPECIFIED
}
