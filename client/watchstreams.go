package client

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
)

// Limits of one stream of watches, which agents enforce.
const (
	maxWatches   = 4096    // open at a time
	maxWatchBody = 2 << 10 // bytes of one watch's request
)

// subscriber is a watch as seen by the stream that delivers its events.
type subscriber interface {
	// decode decodes an event for all alike watches that get it.
	decode(event []byte) (any, error)
	alike(subscriber) bool
	// take must not block. The events were decoded by an alike watch.
	take(s *subscription, events []any)
	// reached reports that there were no other events up to a revision.
	reached(s *subscription, r interrex.Revision)
}

// subscription is one watch at one agent.
type subscription struct {
	id     uint64
	stream *watchStream
	to     subscriber
	began  atomic.Bool   // it misses nothing from here on
	over   chan struct{} // closed when it has ended by itself
	err    error         // why, once it has
}

// watchStreams are the streams of watches to one agent: one as long as it has
// room, and none while there are no watches.
type watchStreams struct {
	service interrexv1.StreamServiceClient
	accept  func(http.Header) error // checks the agent's headers
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	streams []*watchStream
}

func newWatchStreams(h connect.HTTPClient, url string, accept func(http.Header) error) *watchStreams {
	s := &watchStreams{
		// An event for many watches is sent once: compression would cost more
		// than it saves.
		service: interrexv1.NewStreamServiceClient(callstream.Join(h), url, connect.WithAcceptCompression("gzip", nil, nil)),
		accept:  accept,
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// close ends all streams and waits until they are gone. No watch may begin
// meanwhile.
func (s *watchStreams) close() {
	s.end()
	s.running.Wait()
}

// begin requests a watch from the agent; ask returns the request, and must not call
// s.
func (s *watchStreams) begin(ask func(*subscription) (*interrexv1.WatchOpen, error)) (*subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if sub, err := st.begin(ask); sub != nil || err != nil {
			return sub, err
		}
	}
	st := &watchStream{of: s, work: make(chan struct{}, 1), open: map[uint64]*subscription{}}
	st.life, st.end = context.WithCancel(s.life)
	sub, err := st.begin(ask)
	if err != nil {
		st.end()
		return nil, err
	}
	s.streams = append(s.streams, st)
	s.running.Go(st.run)
	return sub, nil
}

// drop removes a stream that is over.
func (s *watchStreams) drop(st *watchStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = slices.DeleteFunc(s.streams, func(other *watchStream) bool { return other == st })
}
