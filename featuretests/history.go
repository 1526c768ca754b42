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
	dropped    int
}

// slow is how long a refusal may take and still be believed: one that took
// longer may have been asked twice, and a late copy of the first attempt may
// still be granted.
const slow = 250 * time.Millisecond

// call notes the beginning of a call; the function that it gives notes its end.
func (h *History) call(client int, in request) func(answer) {
	h.mu.Lock()
	if h.began.IsZero() {
		h.began = time.Now()
	}
	began := h.began
	h.mu.Unlock()
	in.sent = time.Since(began)
	return func(out answer) {
		in.answered = time.Since(began)
		if out.told == refused && in.verb == claim && in.answered-in.sent > slow {
			out.told = unknown
		}
		h.add(client, in, out)
	}
}

// add keeps an operation, unless it says nothing. What has an unknown outcome
// may happen at any time from its call on, for ever.
func (h *History) add(client int, in request, out answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// An extend of unknown outcome makes a lease end later or not at all,
	// which is what the model allows for every lease.
	if out.told == nothing || out.told == unknown && in.verb != claim && in.verb != revoke {
		h.dropped++
		return
	}
	o := porcupine.Operation{
		ClientId: client, Input: in, Output: out, Call: int64(in.sent), Return: int64(in.answered),
	}
	if out.told == unknown {
		o.Return = int64(forever)
	}
	h.operations = append(h.operations, o)
}

// forever is later than any history.
const forever = 1 << 62 * time.Nanosecond

// told gives what an error tells a caller.
func told(err error) outcome {
	switch kind := interrex.KindOf(err); {
	case err == nil:
		return granted
	case kind == interrex.KindHeld || kind == interrex.KindNotHeld || kind == interrex.KindNotFound:
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
	for _, o := range h.operations {
		if o.Output.(answer).told == unknown {
			without++
		} else {
			answered++
		}
	}
	return answered, without + h.dropped
}

// Check reports whether the leases kept their rules in what callers saw.
func (h *History) Check(patience time.Duration) porcupine.CheckResult {
	h.mu.Lock()
	defer h.mu.Unlock()
	return porcupine.CheckOperationsTimeout(leaseModel(), h.operations, patience)
}

// Write draws the history to a file, for people, with where it went wrong.
func (h *History) Write(path string, patience time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	model := leaseModel()
	_, info := porcupine.CheckOperationsVerbose(model, h.operations, patience)
	return porcupine.VisualizePath(model, info, path)
}
