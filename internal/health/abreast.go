package health

import (
	"fmt"
	"time"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/wording"
)

// freshLook is how old the last look at whether the agent is abreast may be. The alarms
// look once a second, unless one of them does not return.
const freshLook = 2 * time.Second

// Silence returns for how long this agent has not known what its leader commits, and
// whether it has known it since it started. Until then the time counts from the start.
func (h *Health) Silence() (d time.Duration, ever bool) {
	now := h.clock.Now()
	last := h.abreast.Load()
	if last == nil || now.Sub(*last) > freshLook {
		last = h.noteAbreast(h.look())
	}
	if last == nil {
		return now.Sub(h.began), false
	}
	return max(0, now.Sub(*last)), true
}

// noteAbreast notes when this agent last knew what its leader commits, and returns that;
// nil: it never has. A new life of raft knows nothing of what the last one has heard.
func (h *Health) noteAbreast(v View) *time.Time {
	at, is := v.abreast()
	for {
		last := h.abreast.Load()
		if !is || last != nil && !at.After(*last) {
			return last
		}
		if h.abreast.CompareAndSwap(last, &at) {
			return &at
		}
	}
}

// abreast returns when the agent last heard its leader; false: its state is not what
// that leader had committed a second before.
func (v View) abreast() (at time.Time, is bool) {
	r := v.Running()
	switch {
	case r == nil, v.State == nil, v.Acks == nil:
		return at, false
	case v.State.Halted() != nil, v.quarantined() != nil, v.behind(r) != nil:
		return at, false
	case v.Leadership.Leader:
		return v.At, true
	}
	heard := r.LastContact()
	return v.At.Add(-time.Since(heard)), !heard.IsZero()
}

// accessStale looks whether this agent refuses access tokens because it cannot know
// which ones were revoked.
func (h *Health) accessStale(at time.Time) []alarm.Finding {
	v := h.look()
	v.At = at
	h.noteAbreast(v)
	if v.Access == nil {
		return nil
	}
	silent, ever := h.Silence()
	if _, open := v.Access.Open(); open || ever && silent <= v.Access.MaxSilence() {
		return nil
	}
	return alarm.Found(fmt.Sprintf("this agent has not known for %s what its leader commits, so it refuses access tokens: one of them may have been revoked meanwhile", wording.Rounded(silent)))
}
