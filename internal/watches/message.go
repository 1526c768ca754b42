package watches

import (
	"slices"

	"github.com/interrex/interrex/gen/interrexv1"
)

// message is a message under construction.
type message struct {
	interrexv1.StreamServiceWatchResponse
	events, bytes int
}

func (m *message) empty() bool {
	return len(m.Opened)+len(m.Refused)+len(m.Events)+len(m.Ended) == 0 && m.Progress == nil
}

func (m *message) full() bool { return m.has(1, 1) }

// has reports whether the message has a part of what it may have.
func (m *message) has(part, of int) bool {
	return m.events >= MaxWatchEvents*part/of || m.bytes >= MaxWatchBytes*part/of
}

// add adds an event for the watches with the given ids, which it copies.
func (m *message) add(ids []uint64, event []byte) {
	m.events++
	m.bytes += len(event)
	if n := len(m.Events); n > 0 && slices.Equal(m.Events[n-1].Ids, ids) {
		m.Events[n-1].Events = append(m.Events[n-1].Events, event)
		return
	}
	m.bytes += 3 * len(ids) // few have more than three bytes
	m.Events = append(m.Events, &interrexv1.WatchEvents{Ids: slices.Clone(ids), Events: [][]byte{event}})
}
