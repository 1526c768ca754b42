package disk

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/juju/clock"
)

// DefaultTimeout is how long a write to the log may take before the disk
// counts as hung. It is far above a slow disk's fsync. A cluster makes no progress
// for that long when the leader's disk hangs, since the leader's heartbeats
// continue (hashicorp/raft#503).
const DefaultTimeout = 5 * time.Second

// Disk runs the writes to one directory, one at a time and each with a deadline.
// The first failure is final: what a store holds after one is unknown until it is
// opened again, so every later write is refused.
type Disk struct {
	Clock   clock.Clock
	Timeout time.Duration // of each call

	failed   chan struct{} // closed at the first failure
	released chan struct{} // closed when raft may continue after a failure
	writing  sync.WaitGroup

	turn     sync.Mutex        // held during a write
	deadline clock.Timer       // of the writes; nil: there was none yet
	writes   chan func() error // to writer, one at a time
	written  chan error        // their results; of capacity 1

	mu     sync.Mutex
	err    error // the first failure, or ErrClosed
	closed bool
	began  time.Time   // when the present write began; zero: there is none
	slow   []time.Time // when the latest slow writes ended, at most slowWrites
}

// A write that takes longer than slowWrite, as long as a follower waits for its
// leader, is slow. A disk is slow after slowWrites of them within slowWithin.
const (
	slowWrite  = 500 * time.Millisecond
	slowWrites = 3
	slowWithin = time.Minute
)

// State describes the disk of raft's log.
type State struct {
	Err     error         // why nothing is written any more; nil: the disk works
	Writing time.Duration // how long the present write has taken so far; 0: there is no write
	Slow    bool          // several of the last minute's writes took over 500 ms
}

// New returns a disk with a timeout for each call; 0: DefaultTimeout.
func New(c clock.Clock, timeout time.Duration) *Disk {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Disk{
		Clock: c, Timeout: timeout,
		failed: make(chan struct{}), released: make(chan struct{}),
		writes: make(chan func() error), written: make(chan error, 1),
	}
}

// State returns the present state of the disk.
func (d *Disk) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Clock.Now()
	s := State{Err: d.err, Slow: len(d.slow) == slowWrites && now.Sub(d.slow[0]) < slowWithin}
	if !d.began.IsZero() {
		s.Writing = now.Sub(d.began)
	}
	return s
}

// end records that the present write has returned in time.
func (d *Disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Clock.Now()
	if now.Sub(d.began) >= slowWrite {
		d.slow = append(d.slow, now)
		d.slow = d.slow[max(0, len(d.slow)-slowWrites):]
	}
	d.began = time.Time{}
}

// Write runs one write, and returns its classified error. It returns at the deadline
// even if the write has not returned; see Drained for when it has.
func (d *Disk) Write(what string, f func() error) error {
	d.turn.Lock()
	defer d.turn.Unlock()
	if err := d.begin(); err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	if d.deadline == nil {
		d.deadline = d.Clock.NewTimer(d.Timeout)
		go d.writer()
	} else {
		d.deadline.Reset(d.Timeout)
	}
	defer d.deadline.Stop()
	d.writes <- f
	err := d.await(d.written, d.deadline, d.Timeout, what)
	if errors.Is(err, ErrHung) {
		return err
	}
	d.end()
	if err == nil {
		return nil
	}
	// The log only reports that a segment is sealed when it failed earlier to
	// create the next one: the first failure is the cause.
	d.Fail(Classify(what, err))
	return d.Failure()
}

// Bounded runs a call that is not a write to the log, concurrently with others, and
// returns at the deadline even if the call has not returned. Only a hung call is a
// failure of the disk.
func (d *Disk) Bounded(what string, f func() error) error { return d.Within(d.Timeout, what, f) }

// Within is Bounded with another timeout.
func (d *Disk) Within(timeout time.Duration, what string, f func() error) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return fmt.Errorf("cannot %s: %w", what, ErrClosed)
	}
	d.writing.Add(1)
	d.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		defer d.writing.Done()
		done <- f()
	}()
	deadline := d.Clock.NewTimer(timeout)
	defer deadline.Stop()
	return d.await(done, deadline, timeout, what)
}

// writer runs the writes, so that not each needs a goroutine whose stack must grow.
// It ends with End.
func (d *Disk) writer() {
	for f := range d.writes {
		d.written <- f()
		d.writing.Done()
	}
}

// await waits for a call that has begun, until the deadline.
func (d *Disk) await(done <-chan error, deadline clock.Timer, timeout time.Duration, what string) error {
	select {
	case err := <-done:
		return err
	case <-deadline.Chan():
		err := fmt.Errorf("cannot %s: %w: no response for %s", what, ErrHung, timeout)
		d.Fail(err)
		return err
	}
}

func (d *Disk) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return ErrClosed
	case d.err != nil:
		return d.err
	}
	d.writing.Add(1)
	d.began = d.Clock.Now()
	return nil
}

// Failed returns a channel that is closed at the first failure.
func (d *Disk) Failed() <-chan struct{} { return d.failed }

// Released returns a channel that is closed by Release.
func (d *Disk) Released() <-chan struct{} { return d.released }

// Fail records a failure; only the first one counts.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
		close(d.failed)
	}
}

// Failure returns the first failure; nil: there was none.
func (d *Disk) Failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Readable returns an error once the disk is closed: a late heartbeat must not
// reach a closed store (hashicorp/raft#717).
func (d *Disk) Readable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	return nil
}

// Close refuses every later use. It does not wait for a write that hangs.
func (d *Disk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// Release lets calls that wait after a failure continue: see Released.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.released:
	default:
		close(d.released)
	}
}

// Drained returns a channel that is closed when no call is in progress.
func (d *Disk) Drained() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		d.writing.Wait()
		close(done)
	}()
	return done
}

// End ends the goroutine of the writes. The disk must be closed and drained.
func (d *Disk) End() { close(d.writes) }
