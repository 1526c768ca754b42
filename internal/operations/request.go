package operations

import (
	"sync"
	"time"

	"github.com/interrex/interrex/internal/method"
)

// request is a call that is not answered yet, and the state of its attempts.
type request struct {
	method.Call

	mu      sync.Mutex
	gone    bool
	ended   bool   // this agent has ended its wait, not its caller
	hopped  bool   // the latest attempt went to another agent
	attempt int    // the latest one
	abandon func() // withdraws the latest attempt; nil if there is nothing to do

	stop    chan struct{} // closed when its caller has gone; nil until it is needed
	sent    time.Time     // of the latest attempt
	retries *retries      // nil until there is one

	reserved int // bytes of its stream's room; the stream's lock guards it
}

// cancel records that the caller has gone.
func (r *request) cancel() {
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return
	}
	r.gone = true
	if r.stop != nil {
		close(r.stop)
	}
	abandon := r.abandon
	r.mu.Unlock()
	if abandon != nil {
		abandon()
	}
}

// expel ends a request's wait because its call has to end; see admission.Calls.EndedFor.
func (r *request) expel() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.cancel()
}

func (r *request) isExpelled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// stopped returns a channel that is closed when the caller has gone.
func (r *request) stopped() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		r.stop = make(chan struct{})
		if r.gone {
			close(r.stop)
		}
	}
	return r.stop
}

// another counts a new attempt and returns its number.
func (r *request) another() (attempt int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempt++
	return r.attempt
}

// onCancel sets how to withdraw an attempt, unless a later one has begun.
func (r *request) onCancel(attempt int, abandon func()) {
	r.mu.Lock()
	if attempt != r.attempt {
		r.mu.Unlock()
		return
	}
	r.abandon = abandon
	gone := r.gone
	r.mu.Unlock()
	if gone && abandon != nil {
		abandon()
	}
}

func (r *request) isGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}
