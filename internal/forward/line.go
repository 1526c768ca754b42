package forward

import (
	"cmp"
	"net/http"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
)

// maxOpen is how many operations may be open on one line; the other agent accepts no more.
const maxOpen = 4096

// line is a stream with its connection, which callers share.
type line struct {
	*callstream.Stream
	connection *http.Transport
	room       room
}

// Close closes the stream, and then its connection.
func (l *line) Close() error {
	err := l.Stream.Close()
	l.connection.CloseIdleConnections()
	return err
}

// shareOf returns whose operation it is that is forwarded.
func shareOf(op *interrexv1.Operation) string { return cmp.Or(op.GetCaller(), op.GetShare()) }
