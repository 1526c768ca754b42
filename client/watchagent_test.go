package client_test

import (
	"context"
	"errors"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// streams is the agent's StreamService.
type streams struct{ *agent }

// Watch runs the test's function for each watch, with the credit that it has. A watch
// that ends without an error ends the stream.
func (a streams) Watch(ctx context.Context, conn *connect.BidiStream[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]) error {
	if err := conn.Send(nil); err != nil { // the headers go ahead
		return err
	}
	a.count(1)
	defer a.count(-1)
	ctx, cancel := context.WithCancel(ctx)
	s := &watches{agent: a.agent, conn: conn, cancel: cancel, open: map[uint64]*openWatch{}}
	go s.receive(ctx)
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return nil
}

// watchCount returns how many streams of watches there are and were.
type watchCount struct{ streams, begun int }

func (a *agent) count(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counted.streams += n
	a.counted.begun += max(n, 0)
}

func (a *agent) watching() watchCount {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counted
}

// opens returns the watches that were requested.
func (a *agent) opens() (all []*interrexv1.WatchOpen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.asked {
		all = append(all, m.Opens...)
	}
	return all
}

type watches struct {
	*agent
	conn   *connect.BidiStream[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]
	cancel context.CancelFunc
	open   map[uint64]*openWatch // the receiver's own

	mu   sync.Mutex // for sending
	over bool
}

type openWatch struct {
	id     uint64
	life   context.Context
	close  context.CancelFunc
	credit chan struct{}
}

func (s *watches) receive(ctx context.Context) {
	defer s.cancel()
	for {
		m, err := s.conn.Receive()
		if err != nil {
			return
		}
		s.note(m)
		for _, id := range m.Closes {
			if w := s.open[id]; w != nil {
				w.close()
			}
		}
		for _, o := range m.Opens {
			w := &openWatch{id: o.Id, credit: make(chan struct{}, 1<<16)}
			w.life, w.close = context.WithCancel(ctx)
			s.open[o.Id] = w
			w.allow(o.Credit)
			go s.run(w, o)
		}
		for _, c := range m.Credits {
			if w := s.open[c.Id]; w != nil {
				w.allow(c.Events)
			}
		}
	}
}

func (s *watches) note(m *interrexv1.StreamServiceWatchRequest) {
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	s.asked = append(s.asked, proto.Clone(m).(*interrexv1.StreamServiceWatchRequest))
}

func (w *openWatch) allow(n uint32) {
	for range n {
		w.credit <- struct{}{}
	}
}

func (s *watches) run(w *openWatch, o *interrexv1.WatchOpen) {
	r := &interrexv1.WatchRequest{}
	if err := proto.Unmarshal(o.Body, r); err != nil {
		panic(err)
	}
	s.agent.mu.Lock()
	watch := s.watch
	s.agent.mu.Unlock()
	_ = s.send(&interrexv1.StreamServiceWatchResponse{Opened: []uint64{o.Id}})
	err := watch(r, func(kind string, revision uint64) error {
		select {
		case <-w.credit:
		case <-w.life.Done():
			return w.life.Err()
		}
		if p := progressOf(kind, o.Id, revision); p != nil {
			return s.send(&interrexv1.StreamServiceWatchResponse{Progress: p})
		}
		e := interrex.LeaseEvent{Kind: kind, Revision: interrex.Revision(revision), Lease: interrex.Lease{Key: key, Token: interrex.Token(revision)}}
		b, err := proto.Marshal(wire.LeaseEvent(e))
		if kind == "unreadable" {
			b = []byte{7}
		}
		return errors.Join(err, s.send(&interrexv1.StreamServiceWatchResponse{
			Events: []*interrexv1.WatchEvents{{Ids: []uint64{o.Id}, Events: [][]byte{b}}},
		}))
	})
	if err == nil {
		s.cancel()
		return
	}
	_ = s.send(&interrexv1.StreamServiceWatchResponse{Ended: []*interrexv1.WatchEnd{{Id: o.Id, Error: wire.Detail(err)}}})
}

// progressOf returns the progress message for a kind.
func progressOf(kind string, id, revision uint64) *interrexv1.WatchProgress {
	switch kind {
	case "progress":
		return &interrexv1.WatchProgress{Revision: revision, Except: []uint64{id + 1}}
	case "progress of others":
		return &interrexv1.WatchProgress{Revision: revision, Except: []uint64{id + 1, id}}
	}
	return nil
}

func (s *watches) send(m *interrexv1.StreamServiceWatchResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errors.New("the stream has ended")
	}
	return s.conn.Send(m)
}
