package interrextest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/interrextest"
)

// scores counts words; each fault is planted by a test.
type scores struct {
	Words  map[string]int
	Hidden int // counts commands, and should be in the snapshot
	fault  string
}

func (s *scores) Apply(c interrex.FSMCommand) ([]byte, error) {
	word := string(c.Data)
	s.Words[word]++
	s.Hidden++
	switch s.fault {
	case "clock":
		return fmt.Append(nil, time.Now().Year(), time.Now().Truncate(time.Hour)), nil
	case "random":
		return fmt.Append(nil, rand.IntN(1000)), nil
	case "map order":
		for w := range s.Words {
			return []byte(w), nil
		}
	case "random state":
		s.Words[word] += rand.IntN(2)
	case "panic":
		if s.Words[word] > 3 {
			panic("too many")
		}
	case "nil error":
		return nil, (*interrex.Error)(nil)
	case "long result":
		return make([]byte, fsm.MaxResult+1), nil
	case "error":
		return nil, errors.New(time.Now().String())
	case "hidden":
		return fmt.Append(nil, s.Hidden), nil
	}
	return fmt.Append(nil, s.Words[word]), nil
}

func (s *scores) Snapshot() ([]byte, error) {
	switch s.fault {
	case "snapshot order":
		return fmt.Append(nil, slices.Collect(maps.Keys(s.Words))), nil
	case "snapshot changes":
		s.Words["a"] = max(s.Words["a"], 7)
	case "snapshot fails":
		return nil, errors.New("no")
	case "hidden":
		return json.Marshal(s.Words)
	}
	return json.Marshal(s)
}

func (s *scores) Restore(b []byte) error {
	if s.fault == "hidden" {
		s.Words = map[string]int{}
		return json.Unmarshal(b, &s.Words)
	}
	if s.fault != "restore merges" { // into an existing map
		s.Words = nil
	}
	if s.fault == "restore fails" {
		return errors.New("no")
	}
	return json.Unmarshal(b, s)
}

// looked returns what CheckFSM finds in a machine with a fault.
func looked(t *testing.T, fault string) error {
	return interrextest.CheckFSMError(t, interrextest.FSMConfig{
		New:     func() interrex.FSM { return &scores{Words: map[string]int{}, fault: fault} },
		Command: func(r *rand.Rand) []byte { return fmt.Append(nil, string(rune('a'+r.IntN(20)))) },
	})
}

func TestCheckFSMFindsEveryFault(t *testing.T) {
	for fault, want := range map[string]string{
		"clock":            "command 0 is answered differently: look for a clock",
		"random":           "answered differently: look for a clock, random numbers",
		"map order":        "answered differently: look for a clock, random numbers or the order of a map",
		"random state":     "answered differently",
		"nil error":        `Apply of "`,
		"long result":      "its result has 1044481 bytes, at most 1044480 are allowed",
		"error":            "answered differently",
		"panic":            `Apply of "`,
		"hidden":           "state that is missing from the snapshot",
		"snapshot order":   "differ", // two snapshots of one machine or, if these happen to be equal, of two
		"snapshot changes": "Snapshot",
		"snapshot fails":   "Snapshot: no",
		"restore merges":   "Restore leaves some of the previous state",
		"restore fails":    "Restore: no",
	} {
		if err := looked(t, fault); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", fault, err, want)
		}
	}
	if err := looked(t, ""); err != nil {
		t.Errorf("without a fault: %v", err)
	}
	if err := interrextest.CheckFSMError(t, interrextest.FSMConfig{}); err == nil {
		t.Error("an empty configuration is taken")
	}
}
