package logs

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"

	"github.com/interrex/interrex/internal/wording"
)

// A line that is repeated is logged again after repeatFirst, and then after twice
// as long each time, repeatMost at most. One that was absent for repeatCalm
// is new again. At most maxRepeats lines are remembered; then all are forgotten.
const (
	repeatFirst = time.Minute
	repeatMost  = time.Hour
	repeatCalm  = 10 * time.Minute
	maxRepeats  = 256
)

// Repeats is a logger for what is retried every few seconds as long as its cause
// lasts: an election without a quorum, or the start of a worker. It
// outlives the workers that log to it. Lines below INFO pass.
type Repeats struct {
	loggo.Logger
	clock clock.Clock

	mu    sync.Mutex
	lines map[string]*repeated
}

// repeated is a line that was logged before.
type repeated struct {
	logged, last time.Time // when it was last logged, and when it last came
	pause        time.Duration
	unsaid       int
}

// NewRepeats returns a logger that logs to another one.
func NewRepeats(c clock.Clock, to loggo.Logger) *Repeats {
	return &Repeats{Logger: to, clock: c, lines: map[string]*repeated{}}
}

// Infof logs a line, or counts it.
func (r *Repeats) Infof(format string, args ...any) { r.log(r.Logger.Infof, format, args) }

// Warningf logs a line, or counts it.
func (r *Repeats) Warningf(format string, args ...any) { r.log(r.Logger.Warningf, format, args) }

// Errorf logs a line, or counts it.
func (r *Repeats) Errorf(format string, args ...any) { r.log(r.Logger.Errorf, format, args) }

func (r *Repeats) log(to func(string, ...any), format string, args []any) {
	line := fmt.Sprintf(format, args...)
	if suffix, due := r.due(line); due {
		to("%s%s", line, suffix)
	}
}

// due reports whether a line is to be logged now, and what to add to it.
func (r *Repeats) due(line string) (suffix string, due bool) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	calm := func(_ string, l *repeated) bool { return now.Sub(l.last) >= repeatCalm }
	l := r.lines[line]
	if l == nil || calm(line, l) {
		r.makeRoom(calm)
		r.lines[line] = &repeated{logged: now, last: now, pause: repeatFirst}
		return "", true
	}
	l.last = now
	l.unsaid++
	since := now.Sub(l.logged)
	if since < l.pause {
		return "", false
	}
	suffix = fmt.Sprintf(" (%d times in the last %s)", l.unsaid, wording.Rounded(since.Round(time.Second)))
	*l = repeated{logged: now, last: now, pause: min(2*l.pause, repeatMost)}
	return suffix, true
}

func (r *Repeats) makeRoom(calm func(string, *repeated) bool) {
	if len(r.lines) < maxRepeats {
		return
	}
	maps.DeleteFunc(r.lines, calm)
	if len(r.lines) >= maxRepeats {
		clear(r.lines)
	}
}
