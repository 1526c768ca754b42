package api

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// watchable declares a method that streams the events of one table.
type watchable struct {
	method wire.Method
	err    error                              // why it cannot be served
	feed   func(caller, []byte) (feed, error) // reads the bytes of a request
}

// feed is what one request for events asks for.
type feed struct {
	since interrex.Revision // exclusive; 0: what is present first
	match func(*state.Event) bool
	// encode makes the message of an event. All feeds of a table share it: an
	// event is encoded once for all watches.
	encode func(*state.Event) ([]byte, error)
	// present returns the first rows after a key (empty: from the start), in
	// the order of keys.
	present func(after string, most room) presentPage
	// within reports whether a key is last or comes before it.
	within func(key, last string) bool
	// complete makes the event that ends the snapshot.
	complete func(interrex.Revision) ([]byte, error)
}

// room bounds what is sent at once. One event may exceed it.
type room struct{ events, bytes int }

// presentPage is a part of a table's rows, as of one revision.
type presentPage struct {
	events   [][]byte
	last     string // the key of the last one
	more     bool   // there are others behind it
	revision interrex.Revision
	err      error
}

// newWatchables declares every method that can be watched here, by its number.
func (s *Server) newWatchables() (map[uint32]watchable, error) {
	all := map[uint32]watchable{}
	for _, w := range []watchable{s.config.Leases.watchable(s)} {
		if w.err != nil {
			return nil, w.err
		}
		all[w.method.Number] = w
	}
	return all, nil
}
