package operations

import "sync"

// maxReaders is how many goroutines answer reads of one kind on a stream. A peer may send
// thousands of messages with a read each before it has an answer.
const maxReaders = 8

// readers answer reads of one kind: each answers together those that came while all were
// busy.
type readers struct {
	mu      sync.Mutex
	waiting []*request
	busy    int
}

// answer has reads answered by do, in goroutines that start starts.
func (g *readers) answer(reads []*request, start func(func()), do func([]*request)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, reads...)
	if len(g.waiting) == 0 || g.busy == maxReaders {
		return
	}
	g.busy++
	start(func() {
		for reads := g.next(); reads != nil; reads = g.next() {
			do(reads)
		}
	})
}

// next returns the reads that wait; nil: there are none, and the reader ends.
func (g *readers) next() (reads []*request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.busy--
	}
	reads, g.waiting = g.waiting, nil
	return reads
}
