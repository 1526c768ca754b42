package disk

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/juju/clock"
)

// DefaultTimeout is how long a write to the log may take before the disk
// counts as hung. It is far above a slow disk's fsync, and a cluster is
// without a leader for that long when the leader's disk hangs
// (hashicorp/raft#503: a leader goes on with its heartbeats meanwhile).
const DefaultTimeout = 5 * time.Second

// Disk puts a deadline on every write of one directory, one at a time.
// The first failure is final: what a store holds after one is only known once
// it has been opened again, so every later write is refused.
type Disk struct {
	Clock   clock.Clock
	Timeout time.Duration // of each call

	failed   chan struct{} // closed with the first failure
	released chan struct{} // closed when raft may go on after a failure
	writing  sync.WaitGroup

	turn     sync.Mutex        // held by the one write
	deadline clock.Timer       // of that write; nil: there was none yet
	writes   chan func() error // to writer, one at a time
	written  chan error        // what came of it; of capacity 1

	mu     sync.Mutex
	err    error // the first failure, or ErrClosed
	closed bool
	began  time.Time   // when the write under way began; zero: none is
	slow   []time.Time // when the newest slow writes ended, at most slowWrites
}

// A write that takes longer than slowWrite is slow: it takes as long as a follower
// waits for its leader. A disk is slow after so many of them within slowWithin.
const (
	slowWrite  = 500 * time.Millisecond
	slowWrites = 3
	slowWithin = time.Minute
)

// State says how the disk behind raft's log is.
type State struct {
	Err     error         // why nothing is written any more; nil: all is well
	Writing time.Duration // how long the write under way has taken so far; 0: none is
	Slow    bool          // several of the last minute's writes took over 500 ms
}

// New returns a disk whose calls have a timeout each; 0: DefaultTimeout.
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

// State returns how the disk is now.
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

// end notes that the write under way has returned in time.
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

// Write runs one write, and returns its classified error. It returns at the
// deadline also when the write does not; the write then goes on alone, and
// Drained tells when it has returned.
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
	// The log says that a segment is sealed where an earlier failure to
	// make the next one is the reason: the first failure explains.
	d.Fail(Classify(what, err))
	return d.Failure()
}

// Bounded runs a call that is not one of the log's writes, beside others, and
// returns at the deadline also when the call does not. Only a call that hangs
// is a failure of the disk.
func (d *Disk) Bounded(what string, f func() error) error { return d.Within(d.Timeout, what, f) }

// Within is bounded with a deadline of its own.
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

// writer runs the writes: each would need a goroutine with a deep stack. It ends
// when the disk is closed and nothing is under way.
func (d *Disk) writer() {
	for f := range d.writes {
		d.written <- f()
		d.writing.Done()
	}
}

// await waits for a call that counts as under way, until the deadline.
func (d *Disk) await(done <-chan error, deadline clock.Timer, timeout time.Duration, what string) error {
	select {
	case err := <-done:
		return err
	case <-deadline.Chan():
		err := fmt.Errorf("cannot %s: %w: no answer for %s", what, ErrHung, timeout)
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

// Failed is closed with the first failure.
func (d *Disk) Failed() <-chan struct{} { return d.failed }

// Released is closed by Release.
func (d *Disk) Released() <-chan struct{} { return d.released }

// Fail notes a failure; only the first one counts.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
		close(d.failed)
	}
}

// Failure returns the first failure, nil as long as all went well.
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

// Release lets go on what waits after a failure: see Released.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.released:
	default:
		close(d.released)
	}
}

// Drained returns a channel that is closed when no call is under way.
func (d *Disk) Drained() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		d.writing.Wait()
		close(done)
	}()
	return done
}

// End ends the goroutine of the writes. The disk is closed then, and no call is
// under way.
func (d *Disk) End() { close(d.writes) }
