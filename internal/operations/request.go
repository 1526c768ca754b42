package operations

import (
	"sync"
	"time"

	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/method"
)

// request is a call that is not answered yet, and the state of its attempts.
type request struct {
	method.Call
	encoding encoding // of its response

	mu      sync.Mutex
	gone    bool
	ended   bool   // this agent has ended its wait, not its caller
	hopped  bool   // the latest attempt went to another agent
	attempt int    // the latest one
	abandon func() // withdraws the latest attempt; nil if there is nothing to do

	stop    chan struct{} // closed when its caller has gone; nil until it is needed
	sent    time.Time     // of the latest attempt
	retries *retries      // nil until there is one

	kind     admission.Kind // as what it is in flight
	share    string         // of its caller
	taken    int            // bytes of its account, until it is answered
	reserved int            // bytes of its stream's room; the stream's lock guards it
}

// The memory that requests take: each, for each byte of its body, for each byte of its
// answer, and for a refusal.
const (
	operationBytes = 2 << 10
	operationCost  = 3 // the message, what was decoded, and the command
	answerCost     = 3 // what is encoded, and copies of that while it is sent
	refusalBytes   = 512
)

// What is taken for an answer until its size is known: that of one row, or of a page.
const (
	rowBytes  = 1 << 10
	pageBytes = 1 << 20
)

// take takes memory, of which it gives back if n is negative. The error is of kind
// ErrOverloaded.
func (r *request) take(a *admission.Account, n int) error {
	share := admission.ShareFor(n)
	if r.Urgent() {
		share = admission.Urgent
	}
	if n < 0 {
		a.Give(-n)
	} else if err := a.Take(n, share); err != nil {
		return err
	}
	r.taken += n
	return nil
}

// keep takes memory for the answer of an operation, which cannot be refused any more.
func (r *request) keep(a *admission.Account, o outcome) {
	n := answerCost * o.size()
	a.Force(n)
	r.taken += n
}

// guess returns the size of the answer of a read that is not evaluated yet.
func (r *request) guess() int {
	if r.Quick() || r.Method.Leads { // the leader may take long to answer
		return rowBytes
	}
	return pageBytes
}

// weighed evaluates a read within the memory of an account: guess is what its answer may
// have. Without memory for its answer it fails with ErrOverloaded.
func (r *request) weighed(a *admission.Account, guess int, look func() outcome) outcome {
	if err := r.take(a, answerCost*guess); err != nil {
		return outcome{err: err}
	}
	o := look()
	if err := r.take(a, answerCost*(o.size()-guess)); err != nil {
		return outcome{err: err}
	}
	return o
}

// forget gives back what weighed took for an answer that is not sent.
func (r *request) forget(a *admission.Account, o outcome) {
	a.Give(answerCost * o.size())
	r.taken -= answerCost * o.size()
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
