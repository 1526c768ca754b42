package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/fifo"
	"github.com/interrex/interrex/internal/wire"
)

// watchBuffer is how many events a watch buffers for its reader; beyond that the
// agent holds the rest back.
const watchBuffer = 64

// Position is the position of a watch at an event.
type Position struct {
	Revision interrex.Revision // of the event
	// Present is set for a row that was present when the watch began, unless it ends
	// the snapshot: a watch that is lost there is not resumed, but ends with
	// ErrWatchClosed.
	Present bool
}

// WatchConfig configures a Watch of events E, whose messages are M.
type WatchConfig[E any, M proto.Message] struct {
	// Procedure is the method's name in generated code:
	// /example.v1.CounterService/Watch.
	Procedure string
	// Since is exclusive: the first request is for the events after it.
	Since interrex.Revision
	// Request returns the request for the events after a revision, at most 2 KiB. It
	// is called again whenever the watch is resumed.
	Request func(since interrex.Revision) proto.Message
	// Decode returns the event of a message. It is called once for all watches of a
	// client to which the agent sends the event, so it must depend only on the
	// message. Its error ends them.
	Decode func(M) (E, Position, error)
}

// Watch yields the events of a method that streams them, and resumes by itself after
// the last one when the connection or the agent is lost. It is safe for concurrent
// use.
type Watch[E any] struct {
	c       *Client
	method  wire.Method
	ask     func(since interrex.Revision) proto.Message
	decoder func([]byte) (*event[E], error)
	life    context.Context
	cancel  context.CancelFunc
	ready   chan struct{} // has room for one signal that there is something to read

	mu      sync.Mutex
	since   interrex.Revision     // of the next connection
	present bool                  // within the snapshot
	queue   fifo.Queue[*event[E]] // not read yet
	way     *subscription         // nil while not subscribed
	read    int                   // events read since the last credit
	lost    time.Time             // when the last subscription broke, or the watch began
	said    map[*endpoint]error   // why each agent has not served it since then
	over    bool
	err     error // set once the watch has ended
}

// event is a decoded event.
type event[E any] struct {
	value E
	at    Position
}

// NewWatch begins a watch that ends with ctx; the caller must Close it. It
// returns before an agent has begun to serve it.
func NewWatch[E any, M proto.Message](ctx context.Context, by Caller, w WatchConfig[E, M]) (*Watch[E], error) {
	c, err := clientOf(ctx, by)
	if err != nil {
		return nil, err
	}
	method, err := wire.MethodOf(w.Procedure)
	if err == nil && method.Class != interrexv1.Class_CLASS_WATCH {
		err = errors.New("it streams no events")
	}
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot watch %s: %v", w.Procedure, err)
	}
	out := &Watch[E]{c: c, method: method, ask: w.Request, decoder: w.decode, since: w.Since, ready: make(chan struct{}, 1), lost: time.Now(), said: map[*endpoint]error{}}
	return out, out.start(ctx)
}

// start runs the watch until ctx or the client ends.
func (w *Watch[E]) start(ctx context.Context) error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.c.life.Err() != nil {
		return errClientClosed()
	}
	w.life, w.cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(w.c.life, w.cancel)
	w.c.watches.Go(func() {
		defer w.cancel()
		defer stop()
		w.end(w.run())
	})
	return nil
}

// Next blocks until there is an event. Watches of the client that get the same
// event share it: do not modify it. If ctx ends first, the error is ErrTimeout,
// and the watch continues; after any other error there are no more: ErrCompacted
// when the events after the last one are gone, ErrWatchClosed when the watch was
// closed or has lost its beginning, ErrOtherCluster when every address leads to
// another cluster now, ErrDisabled when no agent has the feature switched on,
// ErrRemoved when the agents were removed from their cluster.
func (w *Watch[E]) Next(ctx context.Context) (next E, err error) {
	for {
		e, err := w.pop()
		switch {
		case e != nil:
			return e.value, nil
		case err != nil:
			return next, err
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return next, w.late(context.Cause(ctx))
		}
	}
}

// late returns the error of a Next that has timed out.
func (w *Watch[E]) late(cause error) error {
	if since, why := w.Disconnected(); !since.IsZero() {
		return interrex.Errorf(interrex.ErrTimeout, "no event in time: no agent serves the watch since %s: %v", since.UTC().Format(time.RFC3339), why).WithCause(cause)
	}
	return interrex.Errorf(interrex.ErrTimeout, "no event in time").WithCause(cause)
}

// Disconnected reports since when no agent has served the watch, and the last
// error of each; the zero time if one does. The watch keeps trying, and Next
// waits.
func (w *Watch[E]) Disconnected() (since time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way != nil && w.way.began.Load() {
		return time.Time{}, nil
	}
	var texts []string
	var all []error
	for _, p := range w.c.endpoints {
		if err := w.said[p]; err != nil {
			text := strings.TrimPrefix(callstream.Reason(err), string(interrex.ErrUnavailable)+": ")
			texts, all = append(texts, p.address.String()+": "+text), append(all, err)
		}
	}
	if len(all) == 0 {
		return w.lost, interrex.Errorf(interrex.ErrUnavailable, "%s: it has not responded yet", w.c.endpoint().address)
	}
	return w.lost, interrex.Errorf(interrex.ErrUnavailable, "%s", strings.Join(texts, "; ")).WithCause(errors.Join(all...))
}

// elsewhere records why an agent does not serve the watch, and returns an error
// when none will: each belongs to another cluster, or has the feature switched off.
func (w *Watch[E]) elsewhere(p *endpoint, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[p] = err
	for _, p := range w.c.endpoints {
		if said := w.said[p]; !errors.Is(said, interrex.ErrOtherCluster) && !absent(interrex.KindOf(said)) {
			return nil
		}
	}
	if absent(interrex.KindOf(err)) {
		return err
	}
	return fmt.Errorf("%s: %w", p.address, err)
}

// pop returns an event, and grants more credit once half of the buffer was read.
func (w *Watch[E]) pop() (*event[E], error) {
	e, way, credit, err := w.popLocked()
	if credit > 0 {
		way.allow(credit)
	}
	return e, err
}

func (w *Watch[E]) popLocked() (e *event[E], way *subscription, credit int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue.Len() > 0 {
		e = w.queue.Pop()
	}
	if w.over || w.queue.Len() > 0 {
		w.signal() // other readers may be waiting too
	}
	if e == nil {
		return nil, nil, 0, w.err
	}
	if w.read++; w.read >= watchBuffer/2 && w.way != nil {
		credit, w.read = w.read, 0
	}
	return e, w.way, credit, nil
}

// signal wakes a reader.
func (w *Watch[E]) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Close ends the watch and waits until it has ended.
func (w *Watch[E]) Close() error {
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
func (w *Watch[E]) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over, w.err = true, err
	w.signal()
}

// run reconnects until the watch has ended or cannot continue.
func (w *Watch[E]) run() error {
	for failures := 0; ; failures++ {
		p := w.c.endpoint()
		began, err := w.connect(p)
		if w.life.Err() != nil {
			return interrex.Errorf(interrex.ErrWatchClosed, "the watch was closed").WithCause(context.Cause(w.life))
		}
		if final(err) && !absent(interrex.KindOf(err)) {
			return err
		}
		if nowhere := w.elsewhere(p, err); nowhere != nil {
			return nowhere
		}
		since, present := w.position()
		if present {
			return interrex.Errorf(interrex.ErrWatchClosed, "the watch broke before its snapshot was complete: watch again from 0: %v", err).WithCause(err)
		}
		w.c.config.Logger.Debugf("%s: the watch broke: %v: resuming after revision %d", p.url, err, since)
		w.c.leave(p)
		if began {
			failures = 0
		}
		backoff.Pause(w.life, time.After(max(backoff.Next(minPause, maxPause, failures), interrex.RetryAfter(err))))
	}
}

// position returns where the watch would resume, and whether it is still within its
// snapshot, where it cannot.
func (w *Watch[E]) position() (since interrex.Revision, present bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since, w.present
}

// connect serves the watch from one agent, and reports whether it began there.
func (w *Watch[E]) connect(p *endpoint) (began bool, err error) {
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

// subscribe returns the request for the events after the last one.
func (w *Watch[E]) subscribe(s *subscription) (*interrexv1.WatchOpen, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := proto.Marshal(w.ask(w.since))
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot request a watch: %v", err)
	}
	if len(body) > maxWatchBody {
		return nil, interrex.Errorf(interrex.ErrTooLarge, "the request for a watch has %d bytes, at most %d are allowed", len(body), maxWatchBody)
	}
	room := watchBuffer - w.queue.Len()
	w.way, w.read = s, min(0, room)
	s.to = w
	return &interrexv1.WatchOpen{Method: w.method.Number, Body: body, Credit: uint32(max(0, room))}, nil
}

func (w *Watch[E]) unsubscribe(s *subscription) {
	s.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.way = nil
	if s.began.Load() {
		w.lost = time.Now()
		clear(w.said)
	}
}

// decode decodes an event's message.
func (c WatchConfig[E, M]) decode(b []byte) (*event[E], error) {
	var kind M
	m, _ := kind.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, errUnreadable(err)
	}
	value, at, err := c.Decode(m)
	if err != nil {
		return nil, errUnreadable(err)
	}
	return &event[E]{value: value, at: at}, nil
}

func errUnreadable(why any) error {
	return interrex.Errorf(interrex.ErrWatchClosed, "cannot read an event: %v", why)
}

// decode decodes an event for all watches of its kind that get it.
func (w *Watch[E]) decode(b []byte) (any, error) { return w.decoder(b) }

// alike reports whether both decode events in the same way.
func (w *Watch[E]) alike(other subscriber) bool {
	_, is := other.(*Watch[E])
	return is
}

// take enqueues events, and records where to resume. It ignores events from a former
// subscription: they will come again.
func (w *Watch[E]) take(s *subscription, events []any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way != s {
		return
	}
	for _, v := range events {
		e := v.(*event[E])
		w.queue.Push(e)
		w.present = e.at.Present
		if !w.present {
			w.since = e.at.Revision
		}
	}
	w.signal()
}

// reached records that the watch can resume at a revision.
func (w *Watch[E]) reached(s *subscription, r interrex.Revision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.way == s && !w.present {
		w.since = max(w.since, r)
	}
}
