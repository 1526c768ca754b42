package operations

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/interrex/interrex/state"
)

// visit is one request between this agent's door and its answer from the log.
type visit struct {
	visitors *Visitors
	key      visitorKey
}

type visitorKey struct{ caller, id string }

// Visitors are the requests with an id that are inside, so that a later attempt
// of one knows of the earlier. They live as long as the queue, which may be longer
// than a Server. The zero Visitors is none.
type Visitors struct {
	mu  sync.Mutex
	all map[visitorKey]visitor
}

// visitor is what is inside of one request.
type visitor struct {
	attempts int
	consent  content // of an attempt that the webhooks have let in; zero: none
}

// content tells what a request asks for.
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

// enter notes an attempt; nil: the request has no id. leave follows.
func (v *Visitors) enter(caller, id string) *visit {
	if id == "" {
		return nil
	}
	k := visitorKey{caller, id}
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

// allow notes that the webhooks have let an attempt in.
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

// allowed reports whether an attempt with this content was let in, and is inside
// still.
func (v *visit) allowed(c content) bool {
	if v == nil {
		return false
	}
	v.visitors.mu.Lock()
	defer v.visitors.mu.Unlock()
	return v.visitors.all[v.key].consent == c
}

// alone reports whether no other attempt is inside.
func (v *visit) alone() bool {
	v.visitors.mu.Lock()
	defer v.visitors.mu.Unlock()
	return v.visitors.all[v.key].attempts == 1
}
