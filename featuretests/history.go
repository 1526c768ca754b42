package featuretests

import (
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
)

// History is what callers requested and what they were answered, in one process's
// time. Its zero value is empty and ready.
type History struct {
	mu         sync.Mutex
	began      time.Time
	operations []porcupine.Operation
	unknown    int // of them
	dropped    int
}

// slow is how long a refusal may take and still count: one that took longer may be
// of a second attempt, and a late copy of the first may still be granted.
const slow = 250 * time.Millisecond

// now returns the time since the history began.
func (h *History) now() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.began.IsZero() {
		h.began = time.Now()
	}
	return time.Since(h.began)
}

// call records the start of a call; the function that it returns records its end.
func (h *History) call(client int, in request) func(answer) {
	in.sent = h.now()
	return func(out answer) {
		in.answered = h.now()
		if out.result == refused && in.verb == claim && in.answered-in.sent > slow {
			out.result = unknown
		}
		h.add(client, in, out)
	}
}

// add records a call about a lease, unless it proves nothing.
func (h *History) add(client int, in request, out answer) {
	// An extend of unknown outcome makes a lease end later or not at all, which the
	// model allows for every lease.
	result := out.result
	if result == unknown && in.verb != claim && in.verb != revoke {
		result = nothing
	}
	h.record(result, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(in.sent), Return: int64(in.answered)})
}

// record records an operation, unless nothing was done. One of unknown outcome may
// happen at any time from its call on.
func (h *History) record(result outcome, o porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch result {
	case nothing:
		h.dropped++
		return
	case unknown:
		h.unknown++
		o.Return = int64(forever)
	}
	h.operations = append(h.operations, o)
}

// forever is later than any history.
const forever = 1 << 62 * time.Nanosecond

// outcomeOf returns what an error means to a caller.
func outcomeOf(err error) outcome {
	switch kind := interrex.KindOf(err); {
	case err == nil:
		return granted
	case kind == interrex.ErrHeld || kind == interrex.ErrNotHeld || kind == interrex.ErrNotFound || kind == interrex.ErrCASFailure:
		return refused
	case kind.Retryable():
		return nothing
	}
	return unknown
}

// Count returns how many operations were answered, and how many had an unknown
// outcome or none.
func (h *History) Count() (answered, without int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.operations) - h.unknown, h.unknown + h.dropped
}

func (h *History) answered() int {
	answered, _ := h.Count()
	return answered
}

// longestPause returns the longest time in which no call was answered.
func (h *History) longestPause() (longest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var answers []int64
	for _, o := range h.operations {
		if o.Return != int64(forever) {
			answers = append(answers, o.Return)
		}
	}
	slices.Sort(answers)
	for n := range len(answers) - 1 {
		longest = max(longest, time.Duration(answers[n+1]-answers[n]))
	}
	return longest
}

// Check reports whether a model allows what callers saw.
func (h *History) Check(m porcupine.Model, patience time.Duration) porcupine.CheckResult {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(m, h.operations, patience)
}

// Write draws the history into a file, and marks where it went wrong.
func (h *History) Write(m porcupine.Model, path string, patience time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, info := porcupine.CheckOperationsVerbose(m, h.operations, patience)
	return porcupine.VisualizePath(m, info, path)
}
