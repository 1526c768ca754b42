package lease

import (
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// minRecoveryPause is the least time for which nothing is granted after a recovery.
const minRecoveryPause = 30 * time.Second

// Recover ends every lease, pinned ones too, in the order of the keys, and grants
// nothing for as long as any known holder may still believe that it holds one.
func (t *Table) Recover(turn *state.Turn, _ string) {
	pause := minRecoveryPause
	var all []*row
	t.rows.Scan(func(_ string, l *row) bool {
		pause = max(pause, l.ttl, l.expiry.Sub(turn.Now))
		all = append(all, l)
		return true
	})
	for _, l := range all {
		turn.Next()
		t.end(turn, l, interrex.EndForced)
	}
	t.paused = max(t.paused, turn.Now.Add(pause))
}

// Paused returns the cluster time before which nothing is granted, because of a
// recovery; 0 if there was none.
func (t *Table) Paused() state.Time {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.paused
}

// checkPause refuses a grant of k during the pause.
func (t *Table) checkPause(k interrex.Key, now state.Time) *interrex.Error {
	if now >= t.paused {
		return nil
	}
	left := t.paused.Sub(now)
	e := interrex.Errorf(interrex.ErrUnavailable, "cannot claim %s: the cluster was recovered, and nothing is granted for another %s: a former holder may not know yet that its lease has ended", k, wording.Rounded(left))
	e.RetryAfter = left
	return e
}
