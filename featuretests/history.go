package featuretests

import (
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
)

// History is what callers asked and what they were told, in one process's
// time. Its zero value is empty and ready.
type History struct {
	mu         sync.Mutex
	began      time.Time
	operations []porcupine.Operation
	unknown    int // of them
	dropped    int
}

// slow is how long a refusal may take and still be believed: one that took
// longer may have been asked twice, and a late copy of the first attempt may
// still be granted.
const slow = 250 * time.Millisecond

// now is how long ago the history began.
func (h *History) now() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.began.IsZero() {
		h.began = time.Now()
	}
	return time.Since(h.began)
}

// call records the beginning of a call; the function that it returns records its end.
func (h *History) call(client int, in request) func(answer) {
	in.sent = h.now()
	return func(out answer) {
		in.answered = h.now()
		if out.told == refused && in.verb == claim && in.answered-in.sent > slow {
			out.told = unknown
		}
		h.add(client, in, out)
	}
}

// add keeps a call about a lease, unless it says nothing.
func (h *History) add(client int, in request, out answer) {
	// An extend of unknown outcome makes a lease end later or not at all,
	// which is what the model allows for every lease.
	told := out.told
	if told == unknown && in.verb != claim && in.verb != revoke {
		told = nothing
	}
	h.keep(told, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(in.sent), Return: int64(in.answered)})
}

// keep keeps an operation, unless nothing was done. What has an unknown outcome
// may happen at any time from its call on, for ever.
func (h *History) keep(told outcome, o porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch told {
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

// told returns what an error tells a caller.
func told(err error) outcome {
	switch kind := interrex.KindOf(err); {
	case err == nil:
		return granted
	case kind == interrex.KindHeld || kind == interrex.KindNotHeld || kind == interrex.KindNotFound || kind == interrex.KindCASFailure:
		return refused
	case kind.Retryable():
		return nothing
	}
	return unknown
}

// Count says how many operations were answered, and how many of unknown or no
// outcome there were beside them.
func (h *History) Count() (answered, without int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.operations) - h.unknown, h.unknown + h.dropped
}

func (h *History) answered() int {
	answered, _ := h.Count()
	return answered
}

// Check reports whether what callers saw is what a model allows.
func (h *History) Check(m porcupine.Model, patience time.Duration) porcupine.CheckResult {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(m, h.operations, patience)
}

// Write draws the history to a file, for people, with where it went wrong.
func (h *History) Write(m porcupine.Model, path string, patience time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, info := porcupine.CheckOperationsVerbose(m, h.operations, patience)
	return porcupine.VisualizePath(m, info, path)
}
