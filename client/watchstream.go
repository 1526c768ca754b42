package client

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

// maxItems is the maximum number of watches that one message opens, closes and credits.
const maxItems = 1024

// watchStream is one connection that carries watches.
type watchStream struct {
	of   *watchStreams
	life context.Context
	end  context.CancelFunc
	work chan struct{} // signals that there is something to send

	mu     sync.Mutex
	over   bool // no more watches may begin
	lastID uint64
	open   map[uint64]*subscription
	next   interrexv1.StreamServiceWatchRequest // the next message to send
}

// begin adds a watch. It returns nil if the stream is full or over.
func (st *watchStream) begin(ask func(*subscription) (*interrexv1.WatchOpen, error)) (*subscription, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over || len(st.open) >= maxWatches {
		return nil, nil
	}
	st.lastID++
	s := &subscription{id: st.lastID, stream: st, over: make(chan struct{})}
	o, err := ask(s)
	if err != nil {
		return nil, err
	}
	o.Id = s.id
	st.open[s.id] = s
	st.next.Opens = append(st.next.Opens, o)
	st.wake()
	return s, nil
}

// allow grants credit for more events.
func (s *subscription) allow(events int) {
	st := s.stream
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.open[s.id] == s {
		st.next.Credits = append(st.next.Credits, &interrexv1.WatchCredit{Id: s.id, Events: uint32(events)})
		st.wake()
	}
}

// close ends the subscription; the last one ends the stream too.
func (s *subscription) close() {
	st := s.stream
	st.mu.Lock()
	if st.open[s.id] == s {
		delete(st.open, s.id)
		st.next.Closes = append(st.next.Closes, s.id)
		st.wake()
	}
	last := len(st.open) == 0
	st.over = st.over || last
	st.mu.Unlock()
	if last {
		st.of.drop(st)
		st.end()
	}
}

// wake signals the sender that there is something to send.
func (st *watchStream) wake() {
	select {
	case st.work <- struct{}{}:
	default:
	}
}

// run connects, and ends the open subscriptions when the connection ends.
func (st *watchStream) run() {
	defer st.end()
	err := st.connect()
	st.of.drop(st)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.over = true
	for id := range st.open {
		st.finish(id, wire.FromError(err, false))
	}
}

// finish ends a subscription, and records why. The lock is held.
func (st *watchStream) finish(id uint64, err error) {
	if s := st.open[id]; s != nil {
		delete(st.open, id)
		s.err = err
		close(s.over)
	}
}

// watching is Connect's stream of watches.
type watching = connect.BidiStreamForClient[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]

// connect runs the connection until it ends, and returns why.
func (st *watchStream) connect() error {
	ctx, cancel := context.WithCancel(st.life)
	defer cancel()
	conn := st.of.service.Watch(ctx)
	err := (&callstream.Conversation[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]{
		Conn: conn, Accept: st.of.accept,
		Send:    func(ctx context.Context) error { return st.send(ctx, conn) },
		Deliver: st.deliver,
	}).Run(ctx, cancel)
	if errors.Is(err, io.EOF) {
		err = interrex.Errorf(interrex.ErrUnavailable, "the agent has ended the watch")
	}
	return err
}

// deliver handles a message of the agent.
func (st *watchStream) deliver(m *interrexv1.StreamServiceWatchResponse) {
	st.mu.Lock()
	for _, id := range m.GetOpened() {
		if s := st.open[id]; s != nil {
			s.began.Store(true)
		}
	}
	st.finishAll(m.GetRefused())
	st.mu.Unlock()
	for _, group := range m.GetEvents() {
		st.bring(group)
	}
	st.progress(m.GetProgress())
	st.mu.Lock()
	defer st.mu.Unlock()
	st.finishAll(m.GetEnded())
}

// progress passes on to the watches which revision they have reached.
func (st *watchStream) progress(p *interrexv1.WatchProgress) {
	if p == nil {
		return
	}
	st.mu.Lock()
	ids := slices.Collect(maps.Keys(st.open))
	st.mu.Unlock()
	slices.Sort(p.Except)
	for _, s := range st.subscribers(ids) {
		if _, not := slices.BinarySearch(p.Except, s.id); !not && s.began.Load() {
			s.to.reached(s, interrex.Revision(p.GetRevision()))
		}
	}
}

// finishAll ends subscriptions with the agent's errors. The lock is held.
func (st *watchStream) finishAll(all []*interrexv1.WatchEnd) {
	for _, e := range all {
		if why := wire.FromDetail(e.GetError()); why != nil {
			st.finish(e.GetId(), why)
			continue
		}
		st.finish(e.GetId(), interrex.Errorf(interrex.ErrUnavailable, "the agent has ended the watch"))
	}
}

// bring passes events to all watches that get them; each event is decoded once for
// all that are alike.
func (st *watchStream) bring(group *interrexv1.WatchEvents) {
	for to := st.subscribers(group.GetIds()); len(to) > 0; {
		by := to[0].to
		events, unreadable := decodeAll(by, group.GetEvents())
		others := to[:0]
		for _, s := range to {
			if !by.alike(s.to) {
				others = append(others, s)
				continue
			}
			s.to.take(s, events)
			if unreadable != nil {
				st.refuse(s, unreadable)
			}
		}
		to = others
	}
}

// decodeAll decodes events up to the first that is unreadable.
func decodeAll(by subscriber, all [][]byte) (events []any, unreadable error) {
	for _, b := range all {
		e, err := by.decode(b)
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

// refuse ends a subscription that the client cannot continue.
func (st *watchStream) refuse(s *subscription, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.finish(s.id, err)
	st.next.Closes = append(st.next.Closes, s.id)
	st.wake()
}

// subscribers returns the open watches among those with these ids.
func (st *watchStream) subscribers(ids []uint64) []*subscription {
	st.mu.Lock()
	defer st.mu.Unlock()
	to := make([]*subscription, 0, len(ids))
	for _, id := range ids {
		if s := st.open[id]; s != nil {
			to = append(to, s)
		}
	}
	return to
}

// send sends the next message as soon as the last one has been sent. It returns nil
// when ctx ends.
func (st *watchStream) send(ctx context.Context, conn *watching) error {
	st.wake() // for requests that were queued before the connection
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-st.work:
		}
		for m := st.pick(); m != nil; m = st.pick() {
			if err := conn.Send(m); err != nil {
				return err
			}
		}
	}
}

// pick returns the next message; nil if no message is queued.
func (st *watchStream) pick() *interrexv1.StreamServiceWatchRequest {
	st.mu.Lock()
	defer st.mu.Unlock()
	m := &interrexv1.StreamServiceWatchRequest{}
	room := maxItems
	m.Closes, room = move(&st.next.Closes, room)
	m.Opens, room = move(&st.next.Opens, room)
	m.Credits, room = move(&st.next.Credits, room)
	if room == maxItems {
		return nil
	}
	return m
}

// move removes as many elements from the start of a list as there is room for.
func move[T any](from *[]T, room int) (moved []T, left int) {
	n := min(room, len(*from))
	moved = (*from)[:n:n]
	if *from = (*from)[n:]; len(*from) == 0 {
		*from = nil
	}
	return moved, room - n
}
