package leaseapplier

import (
	"sync"

	"github.com/interrex/interrex"
)

// waiterCounts is the number of claims that wait for each key. It is safe for
// concurrent use.
type waiterCounts struct {
	mu    sync.RWMutex
	byKey map[interrex.Key]int
}

func newWaiterCounts() *waiterCounts { return &waiterCounts{byKey: map[interrex.Key]int{}} }

func (c *waiterCounts) set(k interrex.Key, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 {
		delete(c.byKey, k)
		return
	}
	c.byKey[k] = n
}

func (c *waiterCounts) of(k interrex.Key) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byKey[k]
}

func (c *waiterCounts) empty() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byKey) == 0
}
