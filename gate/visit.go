package gate

// Visit is one user's stay. It is safe for use by several goroutines.
type Visit struct {
	gate     *Gate
	name     string
	stopping chan struct{}
}

// Leave ends the visit: from now on the visitor touches nothing that the
// owner of the gate owns. Only the first call counts.
func (v *Visit) Leave() { v.gate.leave(v) }

// Stopping is closed when the owner asks its visitors to leave.
func (v *Visit) Stopping() <-chan struct{} { return v.stopping }
