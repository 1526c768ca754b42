package client

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/gen/interrexv1"
)

// What one stream of watches carries at most; an agent takes no more.
const (
	maxWatches   = 4096    // that are open
	maxWatchBody = 2 << 10 // bytes of one watch's request
)

// subscriber is a watch as the stream sees it that brings its events.
type subscriber interface {
	// decode reads an event for all who get it.
	decode(event []byte) (any, error)
	// take must not wait. Its error ends the subscription.
	take(s *subscription, events []any) error
}

// subscription is one watch at one agent.
type subscription struct {
	id     uint64
	stream *watchStream
	to     subscriber
	began  atomic.Bool   // it misses nothing that comes after
	over   chan struct{} // closed when it has ended by itself
	err    error         // why, once it has
}

// watchStreams are the streams of watches to one agent: one, as long as that
// has room, and none while there is no watch.
type watchStreams struct {
	service interrexv1.StreamServiceClient
	url     string
	accept  func(http.Header) error // looks at the agent's headers
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	streams []*watchStream
}

func newWatchStreams(h connect.HTTPClient, url string, accept func(http.Header) error) *watchStreams {
	s := &watchStreams{
		// What many watches get is sent once: to compress it costs more than it saves.
		service: interrexv1.NewStreamServiceClient(joining{h}, url, connect.WithAcceptCompression("gzip", nil, nil)),
		url:     url, accept: accept,
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// close ends all streams and waits until they are gone. No watch may begin
// beside it.
func (s *watchStreams) close() {
	s.end()
	s.running.Wait()
}

// begin asks the agent for a watch; ask says for which, and may not call back.
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

// drop leaves a stream out that is over.
func (s *watchStreams) drop(st *watchStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = slices.DeleteFunc(s.streams, func(other *watchStream) bool { return other == st })
}
