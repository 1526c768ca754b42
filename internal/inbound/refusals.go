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

// MaxReason is the most bytes of a reason.
const MaxReason = 512

// Logger is what is called of a loggo.Logger.
type Logger interface {
	Debugf(format string, args ...any)
	Warningf(format string, args ...any)
}

// A reason to refuse a peer is logged at most this often, and so many reasons
// of one peer are; so many peers are told apart before all are forgotten.
const (
	refusalEvery = time.Minute
	MaxReasons   = 8
	maxRefusals  = 1024
)

// Refusals logs why agents and strangers were turned away, without letting
// them fill the log.
type Refusals struct {
	Clock  clock.Clock
	Logger Logger

	mu   sync.Mutex
	told map[string]told
	last string
}

// told is what the log says of one peer since a time.
type told struct {
	since   time.Time
	reasons []string
}

// Note logs that who was refused for a reason, unless it did so within the last
// minute. The rest of the text may differ each time, as by a port. What is so while
// one of the two starts or stops is no warning.
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

// ErrNotNow refuses a connection for what does not run yet, or no more.
var ErrNotNow = errors.New("just now")

// passing reports whether a connection ended, or was refused, because an agent
// starts or stops.
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
	old := func(_ string, t told) bool { return now.Sub(t.since) >= refusalEvery }
	t, known := r.told[who]
	if !known || old(who, t) {
		t = told{since: now}
	}
	if len(t.reasons) >= MaxReasons || slices.Contains(t.reasons, reason) {
		return false
	}
	t.reasons = append(t.reasons, reason)
	if !known && len(r.told) >= maxRefusals {
		maps.DeleteFunc(r.told, old)
	}
	if r.told == nil || !known && len(r.told) >= maxRefusals {
		r.told = map[string]told{}
	}
	r.told[who] = t
	return true
}

// Newest returns the last refusal that was logged, "" when there was none.
func (r *Refusals) Newest() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
