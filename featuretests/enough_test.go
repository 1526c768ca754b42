package featuretests

import (
	"testing"
	"time"
)

// enough waits until a run has done enough to prove something. A slow machine makes
// the run longer: it fails only when there is no more progress.
func enough(t *testing.T, what string, floor int, count func() int) {
	t.Helper()
	for last, since := 0, time.Now(); ; pause(t.Context(), 20*time.Millisecond) {
		switch now := count(); {
		case now >= floor:
			return
		case now > last:
			last, since = now, time.Now()
		case time.Since(since) > patience:
			t.Errorf("there were %d %s, and no more in %s: fewer than %d prove nothing", now, what, patience, floor)
			return
		}
	}
}
