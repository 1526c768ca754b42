package raftdir

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/juju/clock"
)

// DefaultWriteTimeout is how long a write to the log may take before the disk
// counts as hung. It is far above a slow disk's fsync, and a cluster is
// without a leader for that long when the leader's disk hangs
// (hashicorp/raft#503: a leader goes on with its heartbeats meanwhile).
const DefaultWriteTimeout = 5 * time.Second

// disk puts a deadline on every write of one raft directory, one at a time.
// The first failure is final: what a store holds after one is only known once
// it has been opened again, so every later write is refused.
type disk struct {
	clock   clock.Clock
	timeout time.Duration

	failed   chan struct{} // closed with the first failure
	released chan struct{} // closed when raft may go on after a failure
	writing  sync.WaitGroup

	turn     sync.Mutex        // held by the one write
	deadline clock.Timer       // of that write; nil: there was none yet
	writes   chan func() error // to writer, one at a time
	written  chan error        // what came of it; of capacity 1

	mu     sync.Mutex
	err    error // the first failure, or ErrStoreClosed
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

// DiskState says how the disk behind raft's log is.
type DiskState struct {
	Err     error         // why nothing is written any more; nil: all is well
	Writing time.Duration // how long the write under way has taken so far; 0: none is
	Slow    bool          // several of the last minute's writes took over 500 ms
}

func (d *disk) state() DiskState {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	s := DiskState{Err: d.err, Slow: len(d.slow) == slowWrites && now.Sub(d.slow[0]) < slowWithin}
	if !d.began.IsZero() {
		s.Writing = now.Sub(d.began)
	}
	return s
}

// end notes that the write under way has returned in time.
func (d *disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	if now.Sub(d.began) >= slowWrite {
		d.slow = append(d.slow, now)
		d.slow = d.slow[max(0, len(d.slow)-slowWrites):]
	}
	d.began = time.Time{}
}

func newDisk(c clock.Clock, timeout time.Duration) *disk {
	if timeout <= 0 {
		timeout = DefaultWriteTimeout
	}
	return &disk{
		clock: c, timeout: timeout,
		failed: make(chan struct{}), released: make(chan struct{}),
		writes: make(chan func() error), written: make(chan error, 1),
	}
}

// write runs one write, and returns its classified error. It returns at the
// deadline also when the write does not; the write then goes on alone, and
// drained tells when it has returned.
func (d *disk) write(what string, f func() error) error {
	d.turn.Lock()
	defer d.turn.Unlock()
	if err := d.begin(); err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	if d.deadline == nil {
		d.deadline = d.clock.NewTimer(d.timeout)
		go d.writer()
	} else {
		d.deadline.Reset(d.timeout)
	}
	defer d.deadline.Stop()
	d.writes <- f
	err := d.await(d.written, d.deadline, d.timeout, what)
	if errors.Is(err, ErrDiskHung) {
		return err
	}
	d.end()
	if err == nil {
		return nil
	}
	// The log says that a segment is sealed where an earlier failure to
	// make the next one is the reason: the first failure explains.
	d.fail(classify(what, err))
	return d.failure()
}

// bounded runs a call that is not one of the log's writes, beside others, and
// returns at the deadline also when the call does not. Only a call that hangs
// is a failure of the disk.
func (d *disk) bounded(what string, f func() error) error { return d.within(d.timeout, what, f) }

// within is bounded with a deadline of its own.
func (d *disk) within(timeout time.Duration, what string, f func() error) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return fmt.Errorf("cannot %s: %w", what, ErrStoreClosed)
	}
	d.writing.Add(1)
	d.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		defer d.writing.Done()
		done <- f()
	}()
	deadline := d.clock.NewTimer(timeout)
	defer deadline.Stop()
	return d.await(done, deadline, timeout, what)
}

// writer runs the writes: each would need a goroutine with a deep stack. It ends
// when the disk is closed and nothing is under way.
func (d *disk) writer() {
	for f := range d.writes {
		d.written <- f()
		d.writing.Done()
	}
}

// await waits for a call that counts as under way, until the deadline.
func (d *disk) await(done <-chan error, deadline clock.Timer, timeout time.Duration, what string) error {
	select {
	case err := <-done:
		return err
	case <-deadline.Chan():
		err := fmt.Errorf("cannot %s: %w: no answer for %s", what, ErrDiskHung, timeout)
		d.fail(err)
		return err
	}
}

func (d *disk) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return ErrStoreClosed
	case d.err != nil:
		return d.err
	}
	d.writing.Add(1)
	d.began = d.clock.Now()
	return nil
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
		close(d.failed)
	}
}

// failure returns the first failure, nil as long as all went well.
func (d *disk) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// readable is nil until the stores are closed: a late heartbeat must not
// reach a closed store (hashicorp/raft#717).
func (d *disk) readable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrStoreClosed
	}
	return nil
}

// close refuses every later use. It does not wait for a write that hangs.
func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// release lets raft go on after a failed save of its term, once nothing that
// it says can leave this agent any more: see stableStore.
func (d *disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.released:
	default:
		close(d.released)
	}
}

// drained is closed when no write is under way.
func (d *disk) drained() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		d.writing.Wait()
		close(done)
	}()
	return done
}
