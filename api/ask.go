package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/webhook"
	"github.com/interrex/interrex/wire"
)

// What is in this file happens where the leader takes operations in, before they
// enter the queue: webhooks are asked about those that they are for.

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

// announced is one operation of a request that webhooks may be asked about.
type announced struct {
	state.Announcement
	procedure string
	message   proto.Message
}

// announces returns what a request asks for, in order; nothing of it happens, or
// all.
func (r *request) announces() (all []announced) {
	for i := range r.parts {
		p := &r.parts[i]
		if a, is := p.command.(state.Announcer); is {
			all = append(all, announced{a.Announce(), p.method.Procedure, p.message})
		}
	}
	return all
}

// hooksFor returns the hooks that are asked before a request; nil: none.
func (s *Server) hooksFor(r *request) (wanted []*webhook.Hook) {
	hooks := s.config.Webhooks.Table.Hooks()
	if len(hooks) == 0 {
		return nil
	}
	all := r.announces()
	for _, h := range hooks {
		if slices.ContainsFunc(all, func(a announced) bool { return h.Asks(a.Announcement) }) {
			wanted = append(wanted, h)
		}
	}
	return wanted
}

// question is what the hooks are asked about a request.
func (r *request) question() (hookcaller.Question, error) {
	q := hookcaller.Question{Caller: r.caller.name, RequestID: r.envelope.GetRequestId(), Attempt: r.envelope.GetAttempt()}
	if f := r.fence; f != (interrex.Fence{}) {
		q.Fence = &hookcaller.Fence{Key: f.Key.String(), Token: f.Token}
	}
	for _, a := range r.announces() {
		if len(a.Kinds) == 0 {
			continue
		}
		m := proto.Clone(a.message)
		sink(m)
		body, err := wire.AppendJSON(nil, m)
		if err != nil {
			return q, interrex.Errorf(interrex.KindInvalid, "request: it cannot be shown to webhooks: %v", err)
		}
		q.Operations = append(q.Operations, hookcaller.Operation{Method: strings.TrimPrefix(a.procedure, "/"), Kind: a.Kinds[0], Key: a.Key, Request: body})
	}
	return q, nil
}

// ask asks the hooks about a request, and lets it into the queue if none of them
// vetoes. It holds up this request alone.
//
// What an earlier attempt was answered is answered again without a call. A waiting
// claim that is asked for again while it stands in line is not asked about again.
func (c *courier) ask(r *request, hooks []*webhook.Hook, v *visit) {
	asked := queue.Operation{Operation: r.addressed()}
	r.load(&asked)
	if res, found := c.server.config.State.Recorded(&asked.Operation); found {
		c.recorded(r, v, res)
		return
	}
	if v.allowed(contentOf(&asked.Operation)) {
		if !c.start(func() { c.admit(r, v) }) {
			v.leave()
		}
		return
	}
	q, err := r.question()
	if err != nil {
		c.turnAway(r, v, err)
		return
	}
	wait, err := c.server.askHooks(hooks, q)
	if err != nil {
		c.turnAway(r, v, err)
		return
	}
	if !c.start(func() { c.heard(r, v, c.verdict(r, wait), &asked.Operation) }) {
		v.leave()
	}
}

// heard does what the hooks' verdict says.
func (c *courier) heard(r *request, v *visit, verdict error, asked *state.Operation) {
	if interrex.KindOf(verdict) == interrex.KindVetoed && v != nil {
		res, found, err := c.server.veto(c.ctx, asked, v, verdict)
		if found {
			c.recorded(r, v, res)
			return
		}
		verdict = err
	}
	if verdict != nil {
		c.turnAway(r, v, verdict)
		return
	}
	v.allow(contentOf(asked))
	c.admit(r, v)
}

// admit puts a request into the queue.
func (c *courier) admit(r *request, v *visit) {
	c.server.config.Queue.Enqueue(c.ctx, c.operation(r, v, c.server.config.Clock.Now()))
}

// operation makes the queue's operation, whose answer ends the visit.
func (c *courier) operation(r *request, v *visit, now time.Time) *queue.Operation {
	return r.operation(now, func(res state.Result) { c.recorded(r, v, res) })
}

// recorded answers a request with a result of the log.
func (c *courier) recorded(r *request, v *visit, res state.Result) {
	v.leave()
	r.result = res
	c.landed(r, outcome{err: res.Err, logged: true})
}

// turnAway answers a request that does not get as far as the queue.
func (c *courier) turnAway(r *request, v *visit, err error) {
	v.leave()
	c.landed(r, outcome{err: err})
}

// verdict waits for what the hooks say, as long as the request may wait for the
// log.
func (c *courier) verdict(r *request, wait func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	late := c.server.config.Clock.AfterFunc(r.last().Sub(c.server.config.Clock.Now()), func() { cancel(errSlowHooks()) })
	defer late.Stop()
	gone := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-r.stopped():
			cancel(errGone())
		case <-gone:
		}
	})
	err := wait(ctx)
	close(gone)
	watching.Wait()
	if err != nil && interrex.KindOf(err) == "" { // the stream or the call has ended
		err = errGone()
	}
	return err
}

func errSlowHooks() error {
	return interrex.Errorf(interrex.KindTimeout, "cannot propose the operation: the webhooks that are asked about it have not answered in time; nothing has happened, try again")
}

func errGone() error {
	return interrex.Errorf(interrex.KindTimeout, "cannot propose the operation: its caller went while the webhooks were asked about it; nothing has happened")
}

// veto looks whether a request with an id may be answered that it was vetoed: not
// while an earlier attempt of it may be in the log, or its record says that it was
// done. found: the record decides.
func (s *Server) veto(ctx context.Context, op *state.Operation, v *visit, veto error) (res state.Result, found bool, err error) {
	if !v.alone() {
		return res, false, interrex.Errorf(interrex.KindOutcomeUnknown,
			"request_id %q: an earlier attempt is not answered yet, and this one was vetoed (%s); ask again with the same request id", op.RequestID, wire.Detail(veto).GetMessage())
	}
	bounded, cancel := context.WithTimeout(ctx, s.config.ReadWait)
	defer cancel()
	// An earlier attempt that another leader has put into the log is applied here
	// after that, or never will be.
	if _, err := s.indexHere(bounded); err != nil {
		return res, false, err
	}
	if res, found := s.config.State.Recorded(op); found {
		return res, true, nil
	}
	return res, false, veto
}
