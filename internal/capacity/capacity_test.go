package capacity_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
)

func limits(count, bytes int64) capacity.Limits {
	return capacity.NewLimits("things", capacity.Load{Count: count, Bytes: bytes})
}

func change(namespace string, count, bytes int64) capacity.Change {
	return capacity.Change{Namespace: namespace, Load: capacity.Load{Count: count, Bytes: bytes}}
}

func TestANamespaceLeavesRoomForTheOthers(t *testing.T) {
	var u capacity.Used
	most := limits(100, 10_000)
	u.Add("a", capacity.Load{Count: 90, Bytes: 5000})
	refused := func(want string, all ...capacity.Change) {
		t.Helper()
		switch err := u.Fits(all, most); {
		case want == "" && err != nil:
			t.Errorf("%v: %v", all, err)
		case want != "" && (err == nil || err.Kind != interrex.ErrOverloaded || !strings.Contains(err.Message, want)):
			t.Errorf("%v: %v, want %q", all, err, want)
		}
	}
	refused("namespace a has 90, and may have 90", change("a", 1, 1))
	refused("", change("b", 10, 1))
	refused("things.max-count allows 100", change("b", 11, 1))
	refused("", change("a", -1, -10), change("a", 1, 10))
	refused("", change("a", 1, 10), change("a", -1, -10))
	refused("namespace a", change("b", -1, 0), change("a", 1, 0))
	refused("", change("a", 0, 4000))
	refused("more than nine tenths of things.max-bytes, 9000", change("a", 0, 4001))
	refused("", change("a", -90, 0), change("a", 0, -5000))
	u.Add("b", capacity.Load{Bytes: 5000})
	refused("with 1 more they would have more than things.max-bytes allows, 10000", change("c", 0, 1))
	refused("", change("a", 0, 1), change("b", 0, -1))
	most = limits(10, 1) // lowered: what makes it smaller goes on
	refused("", change("a", -1, -1))
	refused("", change("a", 0, 0))
	refused("max-count", change("c", 1, 0))
}

func TestWhatIsUsedIsCountedByNamespace(t *testing.T) {
	var u capacity.Used
	for n := range 3 {
		u.Add("a", capacity.Load{Count: 1, Bytes: int64(n)})
	}
	u.Add("b", capacity.Load{Count: 1, Bytes: 7})
	u.Add("b", capacity.Load{Count: -1, Bytes: -7})
	if got, want := u.Usage(limits(5, 6)), (capacity.Usage{Count: 3, MaxCount: 5, Bytes: 3, MaxBytes: 6}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := u.Counts(); !maps.Equal(got, map[string]int64{"a": 3}) {
		t.Errorf("it counts %v", got)
	}
}

// Callers make namespaces and kinds, and each would be a line of metrics.
func TestMetricsHaveSoManyLines(t *testing.T) {
	numbers := map[string]int64{"big": 1000}
	for n := range 10 * capacity.MaxShown {
		numbers[fmt.Sprintf("small-%05d", n)] = 1
	}
	got := capacity.Biggest(maps.All(numbers))
	var sum int64
	for _, n := range got {
		sum += n
	}
	if _, first := got["small-00000"]; !first || len(got) != capacity.MaxShown+1 || got["big"] != 1000 || sum != 1000+10*capacity.MaxShown {
		t.Errorf("%d lines with %d in all: %v", len(got), sum, got)
	}
	if got := capacity.Biggest(maps.All(map[string]int64{"a": 1})); !maps.Equal(got, map[string]int64{"a": 1}) {
		t.Errorf("one: %v", got)
	}
}
