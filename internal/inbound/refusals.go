package inbound

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/wording"
)

// MaxReason is the maximum length of a reason, in bytes.
const MaxReason = 512

// Logger is the part of a loggo.Logger that is used.
type Logger interface {
	Debugf(format string, args ...any)
	Warningf(format string, args ...any)
}

// How often the same reason to refuse a peer is logged, how many reasons of one
// peer are, and how many peers are remembered before all are forgotten.
const (
	refusalEvery = time.Minute
	MaxReasons   = 8
	maxRefusals  = 1024
)

// Refusals logs why peers were refused, without letting them fill the log.
type Refusals struct {
	Clock  clock.Clock
	Logger Logger

	mu     sync.Mutex
	logged map[string]logged
	last   string
}

// logged is what was logged of one peer since a time.
type logged struct {
	since   time.Time
	reasons []string
}

// NewRefusals returns refusals by the wall clock.
func NewRefusals(l Logger) *Refusals { return &Refusals{Clock: clock.WallClock, Logger: l} }

// Note logs that who was refused for a reason, unless it did so within the last
// minute. The rest of the text may differ each time, for example by a port. Refusals
// while one of the two starts or stops are not logged as warnings.
func (r *Refusals) Note(who string, reason error, format string, args ...any) {
	why := wording.Line(reason.Error(), MaxReason)
	text := wording.Line(fmt.Sprintf(format, args...), MaxReason) + ": " + why
	switch {
	case passing(reason):
		r.Logger.Debugf("%s", text)
	case r.due(wording.Line(who, MaxReason), why, text):
		r.Logger.Warningf("%s", text)
	}
}

// ErrNotNow refuses a connection because its target is not running at the moment.
var ErrNotNow = errors.New("just now")

// passing reports whether a connection ended, or was refused, because an agent is
// starting or stopping.
func passing(reason error) bool {
	for _, is := range []error{ErrNotNow, io.EOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(reason, is) {
			return true
		}
	}
	return false
}

func (r *Refusals) due(who, reason, text string) bool {
	now := r.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = text
	old := func(_ string, t logged) bool { return now.Sub(t.since) >= refusalEvery }
	t, known := r.logged[who]
	if !known || old(who, t) {
		t = logged{since: now}
	}
	if len(t.reasons) >= MaxReasons || slices.Contains(t.reasons, reason) {
		return false
	}
	t.reasons = append(t.reasons, reason)
	if !known && len(r.logged) >= maxRefusals {
		maps.DeleteFunc(r.logged, old)
	}
	if r.logged == nil || !known && len(r.logged) >= maxRefusals {
		r.logged = map[string]logged{}
	}
	r.logged[who] = t
	return true
}

// Newest returns the last refusal that was logged, "" when there was none.
func (r *Refusals) Newest() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
