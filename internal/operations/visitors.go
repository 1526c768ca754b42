package operations

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/interrex/interrex/state"
)

// visit is one attempt of a request, from its arrival at this agent to its answer
// from the log.
type visit struct {
	visitors *Visitors
	key      visitorKey
}

// visitorKey is what tells requests apart: see state.About.Holder.
type visitorKey struct{ caller, holder, id string }

// Visitors records the unanswered attempts of requests with an id, so that a later
// attempt of a request knows of earlier ones. It lives as long as the queue, which
// may outlive a Server. The zero Visitors is empty.
type Visitors struct {
	mu  sync.Mutex
	all map[visitorKey]visitor
}

// visitor is one request with unanswered attempts.
type visitor struct {
	attempts int
	consent  content // of an attempt that the webhooks have admitted; zero if none
}

// content is a hash of a request's content.
type content [sha256.Size]byte

func contentOf(op *state.Operation) (c content) {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %s %d ", op.Table, op.Fence.Key, op.Fence.Token)
	_, _ = h.Write(op.Data)
	for _, p := range op.Group {
		_, _ = fmt.Fprintf(h, " %d %d ", p.Table, len(p.Data))
		_, _ = h.Write(p.Data)
	}
	h.Sum(c[:0])
	return c
}

// enter records an attempt, which ends with leave. It returns nil if the request has
// no id.
func (v *Visitors) enter(k visitorKey) *visit {
	if k.id == "" {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = map[visitorKey]visitor{}
	}
	inside := v.all[k]
	inside.attempts++
	v.all[k] = inside
	return &visit{v, k}
}

func (v *visit) leave() {
	if v == nil {
		return
	}
	v.visitors.mu.Lock()
	defer v.visitors.mu.Unlock()
	inside := v.visitors.all[v.key]
	if inside.attempts--; inside.attempts == 0 {
		delete(v.visitors.all, v.key)
		return
	}
	v.visitors.all[v.key] = inside
}

// allow records that the webhooks have admitted an attempt.
func (v *visit) allow(c content) {
	if v == nil {
		return
	}
	v.visitors.mu.Lock()
	defer v.visitors.mu.Unlock()
	inside := v.visitors.all[v.key]
	inside.consent = c
	v.visitors.all[v.key] = inside
}

// allowed reports whether an attempt with this content was admitted, and the request
// is still unanswered.
func (v *visit) allowed(c content) bool {
	if v == nil {
		return false
	}
	v.visitors.mu.Lock()
	defer v.visitors.mu.Unlock()
	return v.visitors.all[v.key].consent == c
}

// alone reports whether the request has no other unanswered attempt.
func (v *visit) alone() bool {
	v.visitors.mu.Lock()
	defer v.visitors.mu.Unlock()
	return v.visitors.all[v.key].attempts == 1
}
