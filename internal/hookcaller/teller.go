package hookcaller

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// The bounds of the pause before a retry of a delivery.
const (
	minRetry = 200 * time.Millisecond
	maxRetry = time.Minute
)

// teller delivers events to one hook.
type teller struct {
	worker *Worker
	hook   *webhook.Hook
	cancel context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	p  Progress
}

func newTeller(w *Worker, h *webhook.Hook) *teller {
	return &teller{worker: w, hook: h, done: make(chan struct{}), p: Progress{Hook: h, At: h.Position, Skipped: h.Skipped}}
}

// resume continues where another teller of the same hook has stopped. SkippedAt is
// reset, because setting the hook acknowledges what was skipped.
func (t *teller) resume(p Progress) {
	p.Hook, p.SkippedAt = t.hook, time.Time{}
	t.p = p
}

func (t *teller) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.p
}

func (t *teller) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	go func() {
		defer close(t.done)
		t.run(ctx)
	}()
}

// stop ends the teller and waits for it.
func (t *teller) stop() {
	t.cancel()
	<-t.done
}

// run delivers until ctx ends. It retries failures.
func (t *teller) run(ctx context.Context) {
	pause := minRetry
	for ctx.Err() == nil {
		err := t.follow(ctx)
		switch interrex.KindOf(err) {
		case interrex.ErrCompacted:
			t.skip(err)
			pause = minRetry
			continue
		case interrex.ErrWatchClosed: // a snapshot replaced the history, or the ring is closed
		default:
			if ctx.Err() == nil {
				t.worker.config.Logger.Warningf("webhook %s: cannot read the events, will retry: %v", t.hook.Name, err)
			}
		}
		if !backoff.Pause(ctx, t.worker.config.Clock.After(pause)) {
			return
		}
		pause = min(2*pause, maxRetry)
	}
}

// follow delivers the ring's events from the position on, until the ring returns an
// error, or ctx ends.
func (t *teller) follow(ctx context.Context) error {
	cursor, err := t.worker.config.Ring.Cursor(t.progress().At, interest.Scope{})
	if err != nil {
		return err
	}
	defer cursor.Close()
	for {
		entries, alarm, err := cursor.Read()
		if err != nil {
			return err
		}
		if entries.Len() == 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-alarm:
			}
			continue
		}
		if err := t.tellAll(ctx, entries); err != nil {
			return err
		}
		cursor.Move(t.progress().At)
	}
}

// tellAll delivers a run of events, which ends with the last event of a revision. The
// position passes a revision when all its events are delivered.
func (t *teller) tellAll(ctx context.Context, entries watch.Entries) error {
	nth := 0
	for i := range entries.Len() {
		e := entries.Event(i)
		if i > 0 && entries.Event(i-1).Revision == e.Revision {
			nth++
		} else {
			nth = 0
		}
		if t.hook.Wants(e.Kind, e.Key) {
			if err := t.tell(ctx, e, nth); err != nil {
				return err
			}
		}
		if i+1 == entries.Len() || entries.Event(i+1).Revision != e.Revision {
			t.advance(e.Revision)
		}
	}
	return nil
}

func (t *teller) advance(at interrex.Revision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.At = max(t.p.At, at)
}

// tell delivers one event, and retries until the hook has accepted it.
func (t *teller) tell(ctx context.Context, e *state.Event, nth int) error {
	data, err := t.worker.config.Data(e)
	if interrex.KindOf(err) == interrex.ErrUnavailable {
		return err
	}
	if err != nil {
		t.worker.config.Logger.Warningf("webhook %s: cannot encode the data of revision %d, sending null: %v", t.hook.Name, e.Revision, err)
	}
	body, err := changeOf(e, data)
	if err != nil {
		return err
	}
	pause := minRetry
	for {
		err := t.worker.config.Caller.tell(ctx, t.hook, body, e.Revision, nth)
		if err == nil {
			t.worker.delivered()
			return nil
		}
		if !backoff.Pause(ctx, t.worker.config.Clock.After(pause)) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, maxRetry)
	}
}

// skip moves the position to the first revision that is kept, and logs that.
func (t *teller) skip(err error) {
	var compacted *interrex.Error
	if !errors.As(err, &compacted) {
		return
	}
	t.mu.Lock()
	from, to := t.p.At+1, compacted.FirstRevision
	if to >= from {
		t.p.At, t.p.SkippedFrom, t.p.SkippedTo = to, from, to
		t.p.Skipped += uint64(to - from + 1)
		t.p.SkippedAt = t.worker.config.Clock.Now()
	}
	t.mu.Unlock()
	t.worker.noteSoon()
	t.worker.config.Logger.Warningf("webhook %s: revisions %d to %d are no longer kept, and are not delivered", t.hook.Name, from, to)
}
