package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// watchBuffer is how many events a watch takes in before its reader has asked;
// beyond them the agent holds the rest back.
const watchBuffer = 64

// watch is interrex.LeaseWatch: one goroutine resumes, and the goroutine that
// receives for all watches of an agent brings the events.
type watch struct {
	c      *Client
	method wire.Method
	life   context.Context
	cancel context.CancelFunc
	ready  chan struct{} // has room for the one signal that there is something to read

	mu      sync.Mutex
	request interrex.WatchRequest // Since is that of the next connection
	present bool                  // amid the present leases
	queue   fifo                  // not read yet
	way     *subscription         // nil: there is none now
	read    int                   // events that were read since the last credit
	lost    time.Time             // when the last way broke, or the watch was asked for
	said    map[*endpoint]error   // why each agent does not serve it, since then
	over    bool
	err     error // why, once it is over
}

func newWatch(ctx context.Context, c *Client, r interrex.WatchRequest) (*watch, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	method, err := wire.MethodOf(interrexv1.LeaseServiceWatchProcedure)
	if err != nil {
		return nil, err
	}
	w := &watch{c: c, method: method, request: r, ready: make(chan struct{}, 1), lost: time.Now(), said: map[*endpoint]error{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return nil, errClientClosed()
	}
	w.life, w.cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, w.cancel)
	c.watches.Go(func() {
		defer w.cancel()
		defer stop()
		w.end(w.run())
	})
	return w, nil
}

// Next gives the next event: see interrex.LeaseWatch. When ctx ends before, it
// is KindTimeout, and the watch goes on.
func (w *watch) Next(ctx context.Context) (interrex.LeaseEvent, error) {
	for {
		e, err := w.pop()
		switch {
		case e != nil:
			return own(e), nil
		case err != nil:
			return interrex.LeaseEvent{}, err
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return interrex.LeaseEvent{}, w.late(context.Cause(ctx))
		}
	}
}

// late is the error of a Next whose time is over.
func (w *watch) late(cause error) error {
	if since, why := w.Disconnected(); !since.IsZero() {
		return interrex.Errorf(interrex.KindTimeout, "no lease event in time: no agent serves the watch since %s: %v", since.UTC().Format(time.RFC3339), why).WithCause(cause)
	}
	return interrex.Errorf(interrex.KindTimeout, "no lease event in time").WithCause(cause)
}

// Disconnected implements interrex.LeaseWatch.
func (w *watch) Disconnected() (since time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way != nil && w.way.began.Load() {
		return time.Time{}, nil
	}
	var texts []string
	var all []error
	for _, p := range w.c.endpoints {
		if err := w.said[p]; err != nil {
			text := strings.TrimPrefix(reason(err), string(interrex.KindUnavailable)+": ")
			texts, all = append(texts, p.address.String()+": "+text), append(all, err)
		}
	}
	if len(all) == 0 {
		return w.lost, interrex.Errorf(interrex.KindUnavailable, "%s: it has not answered yet", w.c.endpoint().address)
	}
	return w.lost, interrex.Errorf(interrex.KindUnavailable, "%s", strings.Join(texts, "; ")).WithCause(errors.Join(all...))
}

// elsewhere records why an agent does not serve the watch, and returns an error
// when every agent belongs to another cluster.
func (w *watch) elsewhere(p *endpoint, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[p] = err
	for _, p := range w.c.endpoints {
		if !errors.Is(w.said[p], interrex.ErrOtherCluster) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", p.address, err)
}

// pop returns an event, and asks for more when half of the buffer was read.
func (w *watch) pop() (*interrex.LeaseEvent, error) {
	e, way, credit, err := w.popLocked()
	if credit > 0 {
		way.allow(credit)
	}
	return e, err
}

func (w *watch) popLocked() (e *interrex.LeaseEvent, way *subscription, credit int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e = w.queue.pop()
	if w.over || w.queue.len() > 0 {
		w.signal() // others may wait too
	}
	if e == nil {
		return nil, nil, 0, w.err
	}
	if w.read++; w.read >= watchBuffer/2 && w.way != nil {
		credit, w.read = w.read, 0
	}
	return e, w.way, credit, nil
}

// own returns a copy of an event for this reader only.
func own(e *interrex.LeaseEvent) interrex.LeaseEvent {
	mine := *e
	mine.Lease.Metadata = maps.Clone(e.Lease.Metadata)
	mine.Lease.Pins = slices.Clone(e.Lease.Pins)
	if e.Lease.Waiting != nil {
		n := *e.Lease.Waiting
		mine.Lease.Waiting = &n
	}
	return mine
}

// signal says that there is something to read.
func (w *watch) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Close ends the watch and waits until it has ended.
func (w *watch) Close() error {
	w.cancel()
	for {
		e, err := w.pop()
		if e == nil && err != nil {
			return nil
		}
		if e == nil {
			<-w.ready
		}
	}
}

// end ends the watch, and records why.
func (w *watch) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over, w.err = true, err
	w.signal()
}

// run connects again and again, until the watch is over or cannot go on.
func (w *watch) run() error {
	for failures := 0; ; failures++ {
		p := w.c.endpoint()
		began, err := w.connect(p)
		if w.life.Err() != nil {
			return interrex.Errorf(interrex.KindWatchClosed, "the watch was closed").WithCause(context.Cause(w.life))
		}
		if kind := interrex.KindOf(err); !kind.Retryable() && kind != interrex.KindOutcomeUnknown {
			return err
		}
		if other := w.elsewhere(p, err); other != nil {
			return other
		}
		since, present := w.position()
		if present {
			return interrex.Errorf(interrex.KindWatchClosed, "the watch broke amid the present leases: watch again from 0: %v", err).WithCause(err)
		}
		w.c.config.Logger.Debugf("%s: the watch broke: %v: resuming after revision %d", p.url, err, since)
		w.c.leave(p)
		if began {
			failures = 0
		}
		pause(w.life, max(backoff(failures), wire.RetryAfter(err)))
	}
}

// position returns where the watch would resume, and whether it is still
// receiving the present leases, where it cannot.
func (w *watch) position() (since interrex.Revision, present bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.request.Since, w.present
}

// connect is the watch's life at one agent. It reports whether it began there.
func (w *watch) connect(p *endpoint) (began bool, err error) {
	s, err := p.watches.begin(w.subscribe)
	if err != nil {
		return false, err
	}
	defer w.unsubscribe(s)
	select {
	case <-s.over:
		return s.began.Load(), s.err
	case <-w.life.Done():
		return s.began.Load(), context.Cause(w.life)
	}
}

// subscribe asks for what follows the last event.
func (w *watch) subscribe(s *subscription) (*interrexv1.WatchOpen, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &interrexv1.WatchRequest{Namespace: w.request.Namespace, Prefix: w.request.Prefix, Since: uint64(w.request.Since)}
	if w.request.Key != (interrex.Key{}) {
		r.Key = w.request.Key.String()
	}
	body, err := proto.Marshal(r)
	if err != nil {
		return nil, interrex.Errorf(interrex.KindInvalid, "cannot ask for a watch: %v", err)
	}
	if len(body) > maxWatchBody {
		return nil, interrex.Errorf(interrex.KindTooLarge, "the request for a watch has %d bytes, at most %d are allowed: give a shorter prefix", len(body), maxWatchBody)
	}
	room := watchBuffer - w.queue.len()
	w.way, w.read = s, min(0, room)
	s.to = w
	return &interrexv1.WatchOpen{Method: w.method.Number, Body: body, Credit: uint32(max(0, room))}, nil
}

func (w *watch) unsubscribe(s *subscription) {
	s.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.way = nil
	if s.began.Load() {
		w.lost = time.Now()
		clear(w.said)
	}
}

// decode decodes an event, once for all watches that get it, so nobody may
// change it.
func (w *watch) decode(b []byte) (any, error) {
	var m interrexv1.LeaseEvent
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, errUnreadable(err)
	}
	e, err := wire.FromLeaseEvent(&m)
	if err != nil {
		return nil, errUnreadable(err)
	}
	return &e, nil
}

func errUnreadable(why any) error {
	return interrex.Errorf(interrex.KindWatchClosed, "cannot read an event: %v", why)
}

// take enqueues events, and notes where to resume. It ignores events from a
// subscription that is no longer the watch's: they will come again.
func (w *watch) take(s *subscription, events []any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way != s {
		return nil
	}
	for _, v := range events {
		e, is := v.(*interrex.LeaseEvent)
		if !is {
			return errUnreadable("it is of another table")
		}
		w.queue.push(e)
		w.present = e.Kind == interrex.LeasePresent
		if !w.present {
			w.request.Since = e.Revision
		}
	}
	w.signal()
	return nil
}

// reached notes that the watch would resume at a revision.
func (w *watch) reached(s *subscription, r interrex.Revision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way == s && !w.present {
		w.request.Since = max(w.request.Since, r)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
