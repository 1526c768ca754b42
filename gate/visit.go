package gate

// Visit is one user's stay. It is safe for use by several goroutines.
type Visit struct {
	gate     *Gate
	name     string
	stopping chan struct{}
}

// Leave ends the visit: afterwards the visitor must not use the resource any more.
// Only the first call has an effect.
func (v *Visit) Leave() { v.gate.leave(v) }

// Stopping is closed when the owner asks its visitors to leave.
func (v *Visit) Stopping() <-chan struct{} { return v.stopping }

// Entrance is what an owner provides to its visitors: a Gate is one.
type Entrance interface {
	// Enter begins a visit under a name; the error is ErrClosed after the owner has
	// begun to stop.
	Enter(name string) (*Visit, error)
}
