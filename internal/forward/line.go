package forward

import (
	"cmp"
	"net/http"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// maxOpen is how many operations may be open on one line; the other agent accepts no more.
const maxOpen = 4096

// crowded is the part of it that callers with many operations fill: one may have as many
// as there is room for more. Of the rest a caller may have an eighth of what is left, so
// that those who fill it do not keep the others out.
const crowded = maxOpen / 4 * 3

// line is a stream with its connection, which callers share.
type line struct {
	*client.Stream
	connection *http.Transport

	mu   sync.Mutex
	open map[string]int // operations, by share
	all  int
}

// Close closes the stream, and then its connection.
func (l *line) Close() error {
	err := l.Stream.Close()
	l.connection.CloseIdleConnections()
	return err
}

// shareOf returns whose operation it is that is forwarded.
func shareOf(op *interrexv1.Operation) string { return cmp.Or(op.GetCaller(), op.GetShare()) }

// enter counts an operation as open, or returns why there is no room for it.
func (l *line) enter(share string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if open := l.open[share]; open >= crowded-l.all && 8*open >= maxOpen-l.all {
		err := interrex.Errorf(interrex.ErrOverloaded, "%d operations of this caller, and %d of all, are on their way to the leader through this agent: wait for answers; nothing has happened", open, l.all)
		err.RetryAfter = 100 * time.Millisecond
		return err
	}
	l.open[share]++
	l.all++
	return nil
}

// leave counts an operation as answered.
func (l *line) leave(share string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.open[share]--; l.open[share] == 0 {
		delete(l.open, share)
	}
}
