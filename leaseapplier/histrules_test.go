package leaseapplier_test

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// rules are what must hold after any failure: no caller is granted the name while
// another holds it by its own deadline (except after a forced revoke); tokens rise; no
// extend that was done is undone; a request takes effect once; none is refused by a
// leader that has it in its log and then done; no waiter is answered `held` before its
// wait is over; no open request is below the mark; and without failures no caller
// waits for a free name, or remains without the answer of a grant.
type rules struct {
	fail func(format string, args ...any)

	mu      sync.Mutex
	began   time.Time
	story   []string
	token   interrex.Token
	grantee string
	claimed bool                          // the newest token is a claim's
	expiry  map[interrex.Token]state.Time // that an extend was answered with
	forced  interrex.Token                // newest token that was ended by force
	holding map[string]interrex.Token     // by holder: work is in progress
	effects map[string]int                // by request id
	newest  map[string]uint32             // attempt that any leader has taken, by request id
	refused map[string]uint32             // attempt that was refused while it was in the log
	grants  int
	holds   int
}

func newRules(fail func(string, ...any)) *rules {
	return &rules{
		fail: fail, began: time.Now(), expiry: map[interrex.Token]state.Time{}, holding: map[string]interrex.Token{},
		effects: map[string]int{}, newest: map[string]uint32{}, refused: map[string]uint32{},
	}
}

func (r *rules) log(format string, args ...any) {
	r.story = append(r.story, fmt.Sprintf("%8s  ", time.Since(r.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

func (r *rules) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log(format, args...)
}

func (r *rules) broken(format string, args ...any) {
	r.log("BROKEN "+format, args...)
	r.fail(format, args...)
}

// event is something that was done to the name, when it is first applied.
func (r *rules) event(kind string, revision interrex.Revision, l lease.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if interrex.Token(revision) <= r.token {
		return // the other agent's copy
	}
	r.log("%d %s token %d of %s", revision, kind, l.Token, l.Holder)
	switch kind {
	case interrex.LeaseClaimed, interrex.LeaseTakenOver, interrex.LeaseTransferred:
		if l.Token <= r.token {
			r.broken("token %d after %d", l.Token, r.token)
		}
		r.grants++
		r.token, r.grantee, r.claimed = l.Token, l.Holder, kind != interrex.LeaseTransferred
		for holder, token := range r.holding {
			if holder != l.Holder && token > r.forced {
				r.broken("%s is granted token %d while %s works under %d", l.Holder, l.Token, holder, token)
			}
		}
	case interrex.LeaseForced:
		r.forced = l.Token
	case interrex.LeaseExpired:
		if l.Expiry < r.expiry[l.Token] {
			r.broken("token %d expired at %v, an extend said %v", l.Token, l.Expiry, r.expiry[l.Token])
		}
	}
}

// byClaim reports whether the newest token is this one, and was claimed.
func (r *rules) byClaim(token interrex.Token) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.token == token && r.claimed
}

// begin is the moment in which work begins under a token; end its end.
func (r *rules) begin(holder string, token interrex.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log("%s works under %d", holder, token)
	r.holds++
	if r.token > token && r.grantee != holder && token > r.forced {
		r.broken("%s begins under token %d, %s was granted %d", holder, token, r.grantee, r.token)
	}
	for other, t := range r.holding {
		if other != holder && t > r.forced && token > r.forced {
			r.broken("%s begins under token %d while %s works under %d", holder, token, other, t)
		}
	}
	r.holding[holder] = token
}

func (r *rules) end(holder, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log("%s stops: %s", holder, why)
	delete(r.holding, holder)
}

// applied is an entry that was applied for the first time.
func (r *rules) applied(ops []state.Operation, results []state.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, op := range ops {
		if results[i].Err != nil || results[i].Replayed {
			continue
		}
		if reply, is := results[i].Reply.(*lease.Reply); is && op.RequestID == "" {
			r.expiry[reply.Lease.Token] = max(r.expiry[reply.Lease.Token], reply.Lease.Expiry)
		}
		if op.RequestID == "" {
			continue
		}
		r.log("request %s attempt %d is done", op.RequestID, op.Attempt)
		if r.effects[op.RequestID]++; r.effects[op.RequestID] > 1 {
			r.broken("request %s took effect twice", op.RequestID)
		}
	}
}

// taken is an attempt that a leader has taken from its queue.
func (r *rules) taken(op *queue.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest[op.RequestID] = max(r.newest[op.RequestID], op.Attempt)
}

// answered is an attempt's answer by a leader that may have attempts of the
// request in its log.
func (r *rules) answered(op *queue.Operation, res state.Result, inLog uint32, found bool) {
	if !found || res.Err == nil {
		return
	}
	kind := interrex.KindOf(res.Err)
	if kind == interrex.ErrHeld || kind.Retryable() && inLog == op.Attempt {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log("request %s attempt %d is answered %q while attempt %d is in the log", op.RequestID, op.Attempt, kind, inLog)
		r.refused[op.RequestID] = max(r.refused[op.RequestID], op.Attempt)
	}
}

// checkRefused looks, at the end, at what was refused and done all the same. A
// refusal is about its own attempt: only that of the newest is believed.
func (r *rules) checkRefused() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, attempt := range r.refused {
		if r.effects[id] > 0 && attempt == r.newest[id] {
			r.broken("request %s was refused while it was in the log, and done", id)
		}
	}
}

// told is an error that a caller has got.
func (r *rules) told(who string, err error, waited, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log("%s is told: %v", who, err)
	if strings.Contains(err.Error(), "below the mark") {
		r.broken("a request of %s is open, and below the mark", who)
	}
	if interrex.KindOf(err) == interrex.ErrHeld && waited < wait-wait/20-50*time.Millisecond {
		r.broken("%s is told `held` after %v of %v", who, waited, wait)
	}
}
