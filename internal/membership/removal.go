package membership

import (
	"sync"

	"github.com/interrex/interrex"
)

// Removal is whether an agent was removed from its cluster. That is learned once, and
// never taken back.
type Removal struct {
	mu   sync.Mutex
	err  error
	done chan struct{}
}

// NewRemoval returns the Removal of an agent that was not removed.
func NewRemoval() *Removal { return &Removal{done: make(chan struct{})} }

// Note notes that the agent was removed, as how says.
func (r *Removal) Note(id, how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = interrex.Errorf(interrex.ErrRemoved, "agent %s was removed (%s), and takes part no more; its data directory is kept: %s", id, how, ComeBack)
		close(r.done)
	}
}

// Err returns an error of kind interrex.ErrRemoved once the agent was removed; nil: it
// was not.
func (r *Removal) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Done is closed when the agent was removed.
func (r *Removal) Done() <-chan struct{} { return r.done }
