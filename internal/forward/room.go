package forward

import (
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// room is how many requests may be under way somewhere. Of the first three quarters a
// caller may have as many as there is room for more; of the rest an eighth of what is left,
// so that those who fill it do not keep the others out. Its methods may be called
// concurrently.
type room struct {
	most int
	what string // they are, for errors

	mu   sync.Mutex
	open map[string]int // by share
	all  int
}

// enter counts a request as open, or returns why there is no room for it.
func (r *room) enter(share string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if open := r.open[share]; open >= r.most/4*3-r.all && 8*open >= r.most-r.all {
		err := interrex.Errorf(interrex.ErrOverloaded, "%d %s of this caller, and %d of all, are under way: wait for answers; nothing has happened", open, r.what, r.all)
		err.RetryAfter = 100 * time.Millisecond
		return err
	}
	if r.open == nil {
		r.open = map[string]int{}
	}
	r.open[share]++
	r.all++
	return nil
}

// leave counts a request as answered.
func (r *room) leave(share string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.open[share]--; r.open[share] == 0 {
		delete(r.open, share)
	}
}
