package leaseapplier

import (
	"sync"

	"github.com/interrex/interrex"
)

// census counts waiters for those who only want to know how many.
type census struct {
	mu    sync.RWMutex
	byKey map[interrex.Key]int
}

func newCensus() *census { return &census{byKey: map[interrex.Key]int{}} }

func (c *census) set(k interrex.Key, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		delete(c.byKey, k)
		return
	}
	c.byKey[k] = n
}

func (c *census) waiting(k interrex.Key) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byKey[k]
}

func (c *census) empty() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byKey) == 0
}
