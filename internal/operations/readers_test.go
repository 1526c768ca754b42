package operations

import (
	"sync"
	"testing"
	"testing/synctest"
)

// A peer sends messages with a read each, and their answers take long.
func TestFewGoroutinesAnswerTheReadsOfManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g readers
		var all sync.WaitGroup
		var mu sync.Mutex
		started, answered := 0, 0
		start, blocked := func(fn func()) { started++; all.Go(fn) }, make(chan struct{})
		do := func(reads []*request) {
			<-blocked
			mu.Lock()
			defer mu.Unlock()
			answered += len(reads)
		}
		for range 1000 {
			g.answer([]*request{{}}, start, do)
		}
		synctest.Wait()
		if started != maxReaders {
			t.Errorf("%d goroutines answer, not %d", started, maxReaders)
		}
		close(blocked)
		all.Wait()
		if answered != 1000 {
			t.Errorf("%d of 1000 are answered", answered)
		}
		g.answer([]*request{{}}, start, do)
		all.Wait()
		if answered != 1001 || g.busy != 0 {
			t.Errorf("a later one is not answered, or %d readers do not end", g.busy)
		}
	})
}
