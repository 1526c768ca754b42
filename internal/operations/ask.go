package operations

import (
	"context"
	"strings"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// hookCheck examines a request on the leader, and calls its webhooks, before the request
// enters the queue.
type hookCheck struct {
	courier *courier
	request *request
	visit   *visit
}

// examine refuses a request that this leader does not propose, or goes on with it. The
// recorded result of an earlier attempt is returned without an examination.
func (a hookCheck) examine(vet func(context.Context) error, hooks []*webhook.Hook) {
	c, r, v := a.courier, a.request, a.visit
	op := queue.Operation{Operation: r.Addressed()}
	r.Load(&op)
	if res, found := c.server.checker.State.Recorded(&op.Operation); found {
		c.recorded(r, v, res)
		return
	}
	if err := a.verdict(vet); err != nil {
		a.refuse(&op.Operation, err)
		return
	}
	if len(hooks) > 0 {
		a.ask(hooks)
		return
	}
	c.admit(r, v)
}

// refuse answers a request that is not proposed, unless an earlier attempt was.
func (a hookCheck) refuse(op *state.Operation, err error) {
	if a.visit != nil {
		res, found, veto := a.veto(op, err)
		if found {
			a.courier.recorded(a.request, a.visit, res)
			return
		}
		err = veto
	}
	a.courier.refuseOne(a.request, a.visit, err)
}

// ask calls the hooks for a request, and enqueues it unless one of them vetoes. It
// delays only this request.
//
// The recorded result of an earlier attempt is returned without a call. No hook is
// called again for the retry of a claim that is still waiting.
func (a hookCheck) ask(hooks []*webhook.Hook) {
	c, r, v := a.courier, a.request, a.visit
	asked := queue.Operation{Operation: r.Addressed()}
	r.Load(&asked)
	if res, found := c.server.checker.State.Recorded(&asked.Operation); found {
		c.recorded(r, v, res)
		return
	}
	if v.allowed(contentOf(&asked.Operation)) {
		if !c.start(func() { c.admit(r, v) }) {
			v.leave()
		}
		return
	}
	q, err := a.question()
	if err != nil {
		c.refuseOne(r, v, err)
		return
	}
	wait, err := c.server.config.Ask(hooks, q)
	if err != nil {
		c.refuseOne(r, v, err)
		return
	}
	if !c.start(func() { a.decide(a.verdict(wait), &asked.Operation) }) {
		v.leave()
	}
}

// decide enqueues or refuses the request according to the hooks' verdict.
func (a hookCheck) decide(verdict error, asked *state.Operation) {
	c, r, v := a.courier, a.request, a.visit
	if interrex.KindOf(verdict) == interrex.ErrVetoed {
		a.refuse(asked, verdict)
		return
	}
	if verdict != nil {
		c.refuseOne(r, v, verdict)
		return
	}
	v.allow(contentOf(asked))
	c.admit(r, v)
}

// verdict waits for the hooks' verdict, as long as the request may wait for the log.
func (a hookCheck) verdict(wait func(context.Context) error) error {
	c, r := a.courier, a.request
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	late := c.server.config.Clock.AfterFunc(r.Last().Sub(c.server.config.Clock.Now()), func() { cancel(errSlowHooks()) })
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

// question returns what the hooks are called with.
func (a hookCheck) question() (hookcaller.Question, error) {
	r := a.request
	q := hookcaller.Question{Caller: r.Caller.Name, RequestID: r.Envelope.GetRequestId(), Attempt: r.Envelope.GetAttempt()}
	if f := r.Fence; f != (interrex.Fence{}) {
		q.Fence = &hookcaller.Fence{Key: f.Key.String(), Token: f.Token}
	}
	for _, one := range r.Announces() {
		if len(one.Kinds) == 0 {
			continue
		}
		body, err := one.JSON()
		if err != nil {
			return q, interrex.Errorf(interrex.ErrInvalid, "request: it cannot be shown to webhooks: %v", err)
		}
		q.Operations = append(q.Operations, hookcaller.Operation{Method: strings.TrimPrefix(one.Procedure, "/"), Kind: one.Kinds[0], Key: one.Key, Request: body})
	}
	return q, nil
}

func errSlowHooks() error {
	return interrex.Errorf(interrex.ErrTimeout, "cannot propose the operation: webhooks did not respond in time; nothing has happened, try again")
}

func errGone() error {
	return interrex.Errorf(interrex.ErrTimeout, "cannot propose the operation: its caller went away while webhooks were called; nothing has happened")
}

// veto returns the outcome of a refused request with an id: the refusal only if no
// earlier attempt may be in the log and none is recorded. found reports that the record
// decides.
func (a hookCheck) veto(op *state.Operation, veto error) (res state.Result, found bool, err error) {
	s := a.courier.server
	if !a.visit.alone() {
		return res, false, interrex.Errorf(interrex.ErrOutcomeUnknown,
			"request_id %q: an earlier attempt is not answered yet, and this one was refused (%s); retry with the same request id", op.RequestID, wire.Detail(veto).GetMessage())
	}
	bounded, cancel := context.WithTimeout(a.courier.ctx, s.checker.ReadWait)
	defer cancel()
	// After that, an earlier attempt that another leader appended has been applied
	// here, or never will be.
	if _, err := s.checker.IndexHere(bounded); err != nil {
		return res, false, err
	}
	if res, found := s.checker.State.Recorded(op); found {
		return res, true, nil
	}
	return res, false, veto
}
