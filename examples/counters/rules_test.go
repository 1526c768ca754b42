package counters_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/examples/counters"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

var visits = interrex.Key{Namespace: "web", Name: "visits"}

// replica is a state with the table of counters, driven by hand.
func replica(t *testing.T) *statetest.Replica {
	return statetest.NewReplica(t, func() []state.Table {
		table, _ := counters.Table()
		return []state.Table{table}
	})
}

// do applies one command at a time since the beginning.
func do(r *statetest.Replica, at time.Duration, c state.Command) (counters.Record, error) {
	result := r.Do(state.Time(at), state.Operation{Table: counters.ID, Data: c.Append(nil)})[0]
	record, _ := result.Reply.(counters.Record)
	return record, result.Err
}

func TestACounterStopsAtItsLimit(t *testing.T) {
	for name, c := range map[string]struct {
		value, by, limit, want uint64 // want 0: a conflict
	}{
		"to the limit":        {3, 2, 5, 5},
		"beyond it":           {3, 3, 5, 0},
		"from beyond it":      {9, 1, 5, 0},
		"no limit":            {3, 4, 0, 7},
		"to the highest":      {math.MaxUint64 - 1, 1, 0, math.MaxUint64},
		"beyond the highest":  {math.MaxUint64, 1, 0, 0},
		"far beyond":          {1, math.MaxUint64, 5, 0},
		"far beyond, no room": {5, math.MaxUint64, 5, 0},
	} {
		r := replica(t)
		if _, err := do(r, 0, &counters.Set{Key: visits, Value: c.value}); err != nil {
			t.Fatal(err)
		}
		got, err := do(r, 0, &counters.Increment{Key: visits, By: c.by, Limit: c.limit})
		if got.Value != c.want || errors.Is(err, interrex.ErrConflict) != (c.want == 0) {
			t.Errorf("%s: %d, %v", name, got.Value, err)
		}
	}
}

func TestACounterEndsByClusterTime(t *testing.T) {
	r := replica(t)
	if _, err := do(r, 0, &counters.Set{Key: visits, Value: 7, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	got, err := do(r, 999*time.Millisecond, &counters.Increment{Key: visits, By: 1})
	if err != nil || got.Value != 8 || got.Expiry != state.Time(time.Second) {
		t.Fatalf("before it ends: %+v, %v", got, err)
	}
	if got, err = do(r, time.Second, &counters.Increment{Key: visits, By: 1}); err != nil || got.Value != 1 || got.Expiry != 0 {
		t.Fatalf("after its end it counts from 0 and stays: %+v, %v", got, err)
	}
	want := []string{counters.CounterSet, counters.CounterIncremented, counters.CounterExpired, counters.CounterIncremented}
	for i, e := range r.Events() {
		if i >= len(want) || e.Kind != want[i] || e.Key != "web/visits" || e.Revision != interrex.Revision(i+1) {
			t.Errorf("event %d is %+v, want %v", i, e, want)
		}
	}
	if events := r.Events(); len(events) != len(want) || events[2].Value.(counters.Record).Value != 8 {
		t.Errorf("the events are %+v", events)
	}
}

func TestWhatIsMalformedIsInvalid(t *testing.T) {
	whole := (&counters.Set{Key: visits, Value: 7}).Append(nil)
	for name, data := range map[string][]byte{
		"nothing":         nil,
		"no operation":    {9},
		"cut":             whole[:len(whole)-1],
		"too long":        append(whole[:len(whole):len(whole)], 0),
		"by 0":            (&counters.Increment{Key: visits}).Append(nil),
		"ttl too short":   (&counters.Set{Key: visits, TTL: 1}).Append(nil),
		"ttl below zero":  (&counters.Set{Key: visits, TTL: -1}).Append(nil),
		"key without any": (&counters.Set{}).Append(nil),
	} {
		table, _ := counters.Table()
		if _, err := table.Decode(data); !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestThereAreAtMostMaxCounters(t *testing.T) {
	r := replica(t)
	for i := range counters.MaxCounters {
		if _, err := do(r, 0, &counters.Set{Key: interrex.Key{Namespace: "a", Name: string(rune(0x4e00+i%20000)) + string(rune('a'+i/20000))}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := do(r, 0, &counters.Increment{Key: visits, By: 1}); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("one more: %v", err)
	}
}
