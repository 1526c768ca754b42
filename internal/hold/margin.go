package hold

import "time"

// Margin returns how long before the deadline a hold's context ends: 10 % of the ttl,
// at least 50 ms, at most half of the ttl. The work must have ended half a margin
// later; the other half allows for clocks that run at different rates.
func Margin(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 50*time.Millisecond), ttl/2)
}
