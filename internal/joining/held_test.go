package joining

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/member"
)

// An agent sets aside only what its cluster does not count on any more.
func TestOnlyWhatIsNotCountedOnIsSetAside(t *testing.T) {
	c := newCluster(t)
	c.must(&member.See{ID: "n1", Incarnation: "old"})
	c.must(&member.Remove{ID: "n1"})
	now := interrex.Epoch{Number: 1, Bits: 7}
	h := HandlerConfig{Table: c.table, ClusterID: func() string { return "here" }, Epoch: func() interrex.Epoch { return now }}
	for name, test := range map[string]struct {
		held        *Held
		may, counts bool
	}{
		"a new one":              {nil, true, false},
		"a removed one":          {&Held{"here", now, "old"}, true, false},
		"a member":               {&Held{"here", now, "new"}, true, true},
		"one left behind":        {&Held{"here", interrex.Epoch{Bits: 7}, "new"}, true, false},
		"of another recovery":    {&Held{"here", interrex.Epoch{Number: 1}, "new"}, true, false},
		"one of a later epoch":   {&Held{"here", interrex.Epoch{Number: 2}, "new"}, false, false},
		"one of another cluster": {&Held{"there", now, "old"}, false, false},
	} {
		if err := h.checkHeld("n1", test.held); (err == nil) != test.may {
			t.Errorf("%s: %v", name, err)
		}
		if counts := test.may && h.counts("n1", test.held); counts != test.counts {
			t.Errorf("%s: the cluster counts on it: %v", name, counts)
		}
	}
}
