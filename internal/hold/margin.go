package hold

import "time"

// Margin is how long before its deadline a holder is told to stop: 10 % of the
// ttl, at least 50 ms, at most half of the ttl. The work must have ended half
// of it later; the other half is for clocks that run at other rates.
func Margin(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 50*time.Millisecond), ttl/2)
}
