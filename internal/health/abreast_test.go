package health

import (
	"testing"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// closedAccess returns a table that has a token.
func closedAccess(t *testing.T) *access.Table {
	t.Helper()
	table := access.New()
	c, err := table.Decode((&access.Create{Hash: accesstoken.New().Hash(), Name: "ann", Operator: true}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	table.Apply(&state.Turn{Revision: 1}, c)
	return table
}

// hears notes that the agent is abreast of its leader now.
func (a *agent) hears() {
	now := time.Now()
	a.health.abreast.Store(&now)
}

func TestSilenceCountsFromWhenTheLeaderWasLastHeard(t *testing.T) {
	by := testclock.NewClock(time.Unix(1000, 0))
	h, err := New(func() View { return View{At: by.Now()} }, by, silent.Logger{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want time.Duration, was bool) {
		t.Helper()
		if got, ever := h.Silence(); got != want || ever != was {
			t.Errorf("%s: %s, %v", what, got, ever)
		}
	}
	by.Advance(3 * time.Second)
	check("not heard yet", 3*time.Second, false)
	now := by.Now()
	h.abreast.Store(&now)
	check("heard", 0, true)
	by.Advance(time.Minute) // raft does not run any more
	check("not heard any more", time.Minute, true)
}

func TestAnOpenAPIHasNoTokensToRefuse(t *testing.T) {
	a := newAgent(t)
	a.view.Access = access.New()
	if found := a.find("access-stale"); len(found) > 0 {
		t.Error(found)
	}
}
