package gate

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrClosed is returned by Enter once the owner has begun to stop.
var ErrClosed = errors.New("gate is closed")

// Gate lets visitors in until its owner closes it. The owner of a resource
// has one Gate for it, and frees the resource only when Close has returned
// without a name. The zero Gate is open and empty; a Gate must not be copied.
type Gate struct {
	mu       sync.Mutex
	closed   bool
	visits   map[*Visit]struct{}
	stopping chan struct{} // closed with the first Close
	empty    chan struct{} // made by a Close that waits; closed by the last Leave
}

// New makes an open gate.
func New() *Gate { return new(Gate) }

// Enter begins a visit under a name, which is for people: the visitor's
// worker. Two visits may have one name. The error is ErrClosed once Close has
// been called.
func (g *Gate) Enter(name string) (*Visit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	if g.visits == nil {
		g.visits = make(map[*Visit]struct{})
		g.stopping = make(chan struct{})
	}
	v := &Visit{gate: g, name: name, stopping: g.stopping}
	g.visits[v] = struct{}{}
	return v, nil
}

// Close refuses new visits, asks the visitors to leave, and waits until the
// last has left or ctx ends. It returns the names of those that are still inside,
// sorted: nil means that the owner may free the resource. It may be called
// again, to wait longer, and by several goroutines.
func (g *Gate) Close(ctx context.Context) (overstayed []string) {
	select {
	case <-g.shut():
		return nil
	case <-ctx.Done():
		return g.Visitors()
	}
}

// Visitors returns the names of those that are inside, sorted.
func (g *Gate) Visitors() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for v := range g.visits {
		names = append(names, v.name)
	}
	slices.Sort(names)
	return names
}

// shut closes the gate, and returns a channel that is closed when it is empty.
func (g *Gate) shut() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		g.empty = make(chan struct{})
		if g.stopping != nil {
			close(g.stopping)
		}
		if len(g.visits) == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

func (g *Gate) leave(v *Visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, inside := g.visits[v]; !inside {
		return
	}
	delete(g.visits, v)
	if g.closed && len(g.visits) == 0 {
		close(g.empty)
	}
}
