package operations

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// courier sends the requests that only the leader can handle to the leader, and
// answers each of them once. Every stream, and every call outside a stream, has
// its own. Nothing else in this package knows about other agents.
//
// While there is no leader it waits, so that callers do not see every election.
// It retries a request that an agent refused because it does not lead, and one
// that provably never reached the leader; it never retries one that may have
// happened. It does not forward a request that another agent forwarded here.
type courier struct {
	server *Server
	caller admission.Caller
	ctx    context.Context
	end    context.CancelFunc
	// done is called once for each request, with its outcome, on any goroutine;
	// it does not block.
	done func(*request, outcome)
	work sync.WaitGroup
	wake chan struct{} // again has changed

	mu      sync.Mutex
	closed  bool
	running bool            // run is active
	again   []*request      // to be retried
	remote  map[*batch]bool // at another agent
}

// outcome is the outcome of a request.
type outcome struct {
	err     error
	message proto.Message // the response, if it was made here
	body    []byte        // the response, if another agent made it, or it is encoded already
	json    []byte        // the response, if its caller wants JSON, and it is encoded already
	logged  bool          // the response has to be made from the request's result
}

// size returns the size of the response; 0 while it has to be made.
func (o outcome) size() int { return len(o.body) + len(o.json) + proto.Size(o.message) }

// encoded returns an outcome that was made here with its response as bytes, which take
// less memory than the message.
func (o outcome) encoded(in encoding) outcome {
	if o.err != nil || o.message == nil {
		return o
	}
	switch in {
	case inProto:
		o.body, o.err = proto.Marshal(o.message)
	case inJSON:
		o.json, o.err = wire.AppendJSON(nil, o.message)
	default:
		return o
	}
	o.message = nil
	return o
}

// encoding is how the response to a read is sent.
type encoding int

const (
	notEncoded encoding = iota // a part of this agent takes it as a message
	inProto
	inJSON
)

// retries is the state of a request's retries; the courier's lock guards it.
type retries struct {
	limit time.Time     // for finding a leader
	pause time.Duration // before the next one
	at    time.Time     // of the next one; equal to limit: as soon as there is a leader
	last  outcome
}

// batch is a set of requests that went to another agent together.
type batch struct {
	requests []*request // nil once answered; the courier's lock guards them
	open     int
}

// minPause is the time between the first two attempts, which grows to maxPause:
// after an agent has answered that it does not lead, it takes about an election
// until there is a leader.
const minPause = 10 * time.Millisecond

func newCourier(ctx context.Context, s *Server, c admission.Caller, done func(*request, outcome)) *courier {
	d := &courier{server: s, caller: c, done: done, wake: make(chan struct{}, 1), remote: map[*batch]bool{}}
	d.ctx, d.end = context.WithCancel(ctx)
	return d
}

// close waits for what the courier has begun. Requests that are not answered by
// then never are.
func (c *courier) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
}

// send passes requests to the current leader. It answers those that can no longer change
// anything itself.
func (c *courier) send(requests []*request) {
	s := c.server
	requests = slices.DeleteFunc(requests, func(r *request) bool {
		res, over := r.Over(s.checker.State)
		if over {
			c.finished(r, outcome{err: res.Err})
		}
		return over
	})
	if len(requests) == 0 {
		return
	}
	l, now := s.checker.Leadership.Current(), s.config.Clock.Now()
	for _, r := range requests {
		r.sent, r.hopped = now, false
	}
	switch {
	case l.Leader:
		c.enqueue(requests, now)
	case c.caller.Door == admission.Peer, s.config.Forward == nil:
		c.refuse(requests, s.checker.NotLeader(l))
	case l.LeaderID == "", l.LeaderID == s.checker.ID:
		c.refuse(requests, s.checker.NoLeader())
	default:
		c.forward(l.LeaderID, requests, now)
	}
}

func (c *courier) refuse(requests []*request, err error) {
	for _, r := range requests {
		c.finished(r, outcome{err: err})
	}
}

// enqueue adds requests to this agent's own queue, once the leader has examined them
// and their webhooks have admitted them. This agent leads.
func (c *courier) enqueue(requests []*request, now time.Time) {
	ops := make([]*queue.Operation, 0, len(requests))
	for _, r := range requests {
		if r.Method.Index != nil {
			c.start(func() { c.finished(r, c.index(r)) })
			continue
		}
		if !r.Method.Writes() { // this agent has become the leader meanwhile
			c.finished(r, outcome{})
			continue
		}
		if err := r.Mint(); err != nil {
			c.finished(r, outcome{err: err})
			continue
		}
		v := c.server.config.Visitors.enter(visitorKey{r.Caller.Name, r.Holder(), r.Envelope.GetRequestId()})
		hooks, ask := c.server.hooksFor(r), hookCheck{c, r, v}
		if vet := c.server.vet(r); vet != nil {
			if !c.start(func() { ask.examine(vet, hooks) }) {
				v.leave()
			}
			continue
		}
		if len(hooks) > 0 {
			ask.ask(hooks)
			continue
		}
		ops = append(ops, c.operation(r, v, now))
	}
	c.server.config.Queue.Enqueue(c.ctx, ops...)
}

// admit adds a request to the queue.
func (c *courier) admit(r *request, v *visit) {
	c.server.config.Queue.Enqueue(c.ctx, c.operation(r, v, c.server.config.Clock.Now()))
}

// operation returns the queue's operation, whose answer ends the visit.
func (c *courier) operation(r *request, v *visit, now time.Time) *queue.Operation {
	return r.Operation(now, r.stopped(), func(res state.Result) { c.recorded(r, v, res) })
}

// recorded answers a request with a recorded result.
func (c *courier) recorded(r *request, v *visit, res state.Result) {
	v.leave()
	r.Result = res
	c.finished(r, outcome{err: res.Err, logged: true})
}

// refuseOne answers a request that is refused before it enters the queue.
func (c *courier) refuseOne(r *request, v *visit, err error) {
	v.leave()
	c.finished(r, outcome{err: err})
}

// index requests a log index from this agent's own raft. A panic fails only this
// request.
func (c *courier) index(r *request) (o outcome) {
	defer func() {
		if reason := recover(); reason != nil {
			o = outcome{err: c.server.checker.Panicked(r.Method.Procedure, reason)}
		}
	}()
	index, err := c.server.checker.IndexHere(c.ctx)
	return outcome{message: r.Method.Index(index), err: err}
}

// forward sends requests to another agent, the leader.
func (c *courier) forward(id string, requests []*request, now time.Time) {
	b := &batch{}
	var ops []*interrexv1.Operation
	var attempts []int
	for _, r := range requests {
		r.hopped = true
		op, err := r.Hop(now)
		if err != nil {
			c.finished(r, outcome{err: err})
			continue
		}
		b.requests, ops, attempts = append(b.requests, r), append(ops, op), append(attempts, r.another())
	}
	b.open = len(b.requests)
	f, err := c.server.config.Forward(c.ctx, id)
	if err != nil { // nothing was sent
		if interrex.KindOf(err) == "" {
			err = interrex.Errorf(interrex.ErrUnavailable, "%v", err).WithCause(err)
		}
		c.refuse(b.requests, err)
		return
	}
	c.mu.Lock()
	c.remote[b] = true
	c.mu.Unlock()
	sent := slices.Clone(b.requests)
	abandon := f.Send(ops, func(i int, body []byte, err error) {
		c.returned(b, i)
		c.finished(sent[i], outcome{body: body, err: err})
	})
	for i, r := range sent {
		r.onCancel(attempts[i], func() { abandon(i) })
	}
}

// returned records that a request of a batch is answered.
func (c *courier) returned(b *batch, i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.requests[i] = nil
	if b.open--; b.open == 0 {
		delete(c.remote, b)
	}
}

// hasRemote reports whether a request at another agent is unanswered.
func (c *courier) hasRemote() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.remote) > 0
}

// sweep abandons the requests that another agent has not answered in time, and
// reports whether others are still unanswered.
func (c *courier) sweep() bool {
	now := c.server.config.Clock.Now()
	var late []*request
	c.mu.Lock()
	for b := range c.remote {
		for _, r := range b.requests {
			if r != nil && now.After(r.Last().Add(c.server.config.AnswerWait)) {
				late = append(late, r)
			}
		}
	}
	left := len(c.remote) > 0
	c.mu.Unlock()
	for _, r := range late {
		r.cancel()
	}
	return left
}

// finished handles the outcome of one attempt.
func (c *courier) finished(r *request, o outcome) {
	if o.err == nil || !c.retry(r, o) {
		c.done(r, o)
	}
}

// retry schedules another attempt of a request that provably has not happened, if
// one is allowed, and reports whether it did.
func (c *courier) retry(r *request, o outcome) bool {
	now, wait := c.server.config.Clock.Now(), c.server.config.LeaderWait
	kind := interrex.KindOf(o.err)
	if c.caller.Door == admission.Peer || !consistency.Elsewhere(kind) && !(r.hopped && away(kind, r, now.Sub(r.sent), wait)) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.retries == nil {
		r.retries = &retries{}
	}
	a := r.retries
	if a.limit.IsZero() || now.Sub(r.sent) > wait { // it was queued there until that leader stopped
		a.limit, a.pause = now.Add(wait), minPause
		if last := r.Last(); last.Before(a.limit) {
			a.limit = last
		}
	}
	a.at, a.last = now.Add(a.pause), o
	a.pause = min(2*a.pause, consistency.MaxPause)
	if kind == interrex.ErrNoLeader && !c.led() {
		a.at = a.limit // or as soon as there is a leader
	}
	if c.closed || r.isGone() || a.at.After(a.limit) || !now.Before(a.limit) {
		return false
	}
	c.again = append(c.again, r)
	if !c.running {
		c.running = true
		c.work.Go(c.run)
	}
	c.poke()
	return true
}

// away reports whether an error says that the agent is unreachable or stopping, so
// that another will lead soon. A claim that has waited gets this error for another
// reason; its caller retries, whereas a retry here could be for a caller that has
// gone.
func away(k interrex.Kind, r *request, after, wait time.Duration) bool {
	return (k == interrex.ErrUnavailable || k == interrex.ErrDraining) && !r.Envelope.GetAsksAgain() && after < wait
}

// run makes the scheduled attempts until none is left.
func (c *courier) run() {
	changed, stop := c.leaders()
	defer stop()
	timer := c.server.config.Clock.NewTimer(consistency.MaxPause)
	defer timer.Stop()
	for {
		due, next, more := c.due()
		c.send(due)
		if !more && len(due) == 0 {
			return
		}
		timer.Reset(max(next, time.Millisecond))
		select {
		case <-c.wake:
		case <-timer.Chan():
		case <-changed:
		case <-c.ctx.Done():
			c.giveUp()
			return
		}
	}
}

// led reports whether a leader is known.
func (c *courier) led() bool {
	l := c.server.checker.Leadership.Current()
	return l.Leader || l.LeaderID != "" && l.LeaderID != c.server.checker.ID
}

// due removes and returns the requests to send now, and how long to wait until the
// next check. If nothing was due and nothing is left, it marks run as ended.
func (c *courier) due() (due []*request, next time.Duration, more bool) {
	now, led := c.server.config.Clock.Now(), c.led()
	next = consistency.MaxPause
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = slices.DeleteFunc(c.again, func(r *request) bool {
		a := r.retries
		leaderless := a.at.Equal(a.limit)
		if led && leaderless || !now.Before(a.at) || r.isGone() {
			due = append(due, r)
			return true
		}
		next = min(next, a.at.Sub(now))
		return false
	})
	more = len(c.again) > 0
	if !more && len(due) == 0 {
		c.running = false
	}
	return due, next, more
}

// giveUp answers the requests that wait for a retry, when their stream or call has
// ended.
func (c *courier) giveUp() {
	c.mu.Lock()
	left := c.again
	c.again, c.closed = nil, true
	c.mu.Unlock()
	for _, r := range left {
		c.done(r, r.retries.last)
	}
}

// leaders signals each change of leadership until stop is called.
func (c *courier) leaders() (changed <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	next := c.server.config.NextLeadership()
	changes := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			if _, err := next(ctx); err != nil {
				return
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	})
	return changes, func() { cancel(); watching.Wait() }
}

func (c *courier) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// start runs fn, which may block, in a goroutine that close waits for. After close
// it returns false, and does not run it.
func (c *courier) start(fn func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Go(fn)
	}
	return !c.closed
}
