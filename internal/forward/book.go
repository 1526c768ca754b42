package forward

import (
	"sync"
	"time"
)

// maxBook bounds the agents that a Book remembers; beyond it, it begins anew.
const maxBook = 2000

// Book has what agents without raft say of themselves. Its zero value is empty.
type Book struct {
	mu   sync.Mutex
	said map[string]Said
}

// Said is what one agent has said last, and when.
type Said struct {
	Whereabouts
	At time.Time
}

// Note notes what an agent says.
func (b *Book) Note(id string, said Said) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.said == nil || len(b.said) >= maxBook {
		b.said = map[string]Said{}
	}
	b.said[id] = said
}

// Said returns what an agent has said last; false: nothing yet.
func (b *Book) Said(id string) (Said, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	said, is := b.said[id]
	return said, is
}
