package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/inbound"
)

// Agents dial each other at the start, and then at growing intervals: every 2 s
// those from which nothing was received for that long, every 30 s all. News makes
// them dial again at once, at a limited rate.
const (
	meetFirst  = 100 * time.Millisecond
	meetIdle   = 30 * time.Second
	meetAtOnce = 8  // concurrent dials of one Meet
	meetMost   = 64 // concurrent dials of the loop
	probeAfter = 2 * time.Second
	newsBurst  = 10              // rounds that news may cause without a pause
	newsEvery  = 2 * time.Second // between further ones
)

// ProbeTime is the longest time, without the handshake, between two receipts from a
// healthy agent: one from which nothing was received for longer is silent.
const ProbeTime = probeAfter + probeAfter

// savePeriod is the longest time after which a change of the memory is saved.
const savePeriod = time.Second

// stopTimeout bounds the wait for the users of connections that have been closed.
const stopTimeout = 5 * time.Second

// Kill implements worker.Worker.
func (t *Transport) Kill() {
	t.catacomb.Kill(nil)
	t.cancel() // after it, so that what ends with ctx returns the catacomb's ErrDying
}

// Wait implements worker.Worker. When it returns, the port is free and no
// connection is open.
func (t *Transport) Wait() error { return t.catacomb.Wait() }

// Report describes the transport for the engine's report. It never blocks.
func (t *Transport) Report() map[string]any {
	peers := map[string]any{}
	for _, p := range t.book.hellos() {
		peers[p.ID] = map[string]any{"address": p.ClusterAddress, "api": p.APIAddress, "version": p.Version}
	}
	report := map[string]any{
		"id": t.config.ID, "listen": t.ListenAddr(), "alone": t.config.TLS == nil,
		"connections": t.limits.Open(), "peers": peers,
	}
	if last := t.refusals.Newest(); last != "" {
		report["last-refusal"] = last
	}
	return report
}

func (t *Transport) loop() error {
	if t.listener == nil {
		<-t.ctx.Done()
		t.stop()
		return t.catacomb.ErrDying()
	}
	var accepting, saving sync.WaitGroup
	accepting.Go(t.acceptLoop)
	saving.Go(t.saveLoop)
	t.meetLoop()
	_ = t.closeListener()
	accepting.Wait()
	t.stop()
	if !inbound.WaitFor(&saving, stopTimeout) {
		t.config.Logger.Warningf("what is remembered of other agents' logs has not been saved within %s", stopTimeout)
	}
	return t.catacomb.ErrDying()
}

// stop closes what is still open, and waits for its goroutines.
func (t *Transport) stop() {
	t.mu.Lock()
	live, inlets := t.raft, []*inbound.Inlet{t.api, t.join, t.forward}
	for c := range t.incoming {
		_ = c.Close()
	}
	t.mu.Unlock()
	if live != nil {
		_ = live.Close()
	}
	for _, in := range inlets {
		if in != nil {
			_ = in.Close()
		}
	}
	if !inbound.WaitFor(&t.conns, stopTimeout) {
		t.config.Logger.Warningf("connections of other agents are still in use %s after they were closed", stopTimeout)
	}
}

// meetLoop dials other agents for as long as the transport lives.
func (t *Transport) meetLoop() {
	defer t.meeting.Wait()
	delay := time.Duration(0)
	var all time.Time // when all were last met
	for {
		news, alive := t.pauseOrNews(delay)
		if !alive {
			return
		}
		addresses := t.quiet()
		if now := t.config.Clock.Now(); news || delay < probeAfter || now.Sub(all) >= meetIdle {
			addresses, all = t.addresses(), now
		}
		for _, address := range addresses {
			t.meetSoon(address, news)
		}
		delay = min(max(2*delay, meetFirst), probeAfter)
	}
}

// meetSoon starts to exchange hellos with the agent at an address, without waiting.
// If that is already in progress, news repeats it when it has ended.
func (t *Transport) meetSoon(address string, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if again, busy := t.dialling[address]; busy {
		t.dialling[address] = again || news
		return
	}
	if len(t.dialling) >= meetMost {
		return
	}
	t.dialling[address] = false
	t.meeting.Go(func() {
		for again := true; again; again = t.again(address) {
			_ = t.meetAt(t.ctx, address) // see contacts
		}
	})
}

// again reports whether a dial of the meetLoop must be repeated, and ends it if not.
func (t *Transport) again(address string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dialling[address] && t.ctx.Err() == nil {
		t.dialling[address] = false
		return true
	}
	delete(t.dialling, address)
	return false
}

// pauseOrNews waits for about delay, or until there is news, and reports whether
// there was and whether the transport still lives. A delay of 0 is the first
// round's.
func (t *Transport) pauseOrNews(delay time.Duration) (news, alive bool) {
	if delay == 0 {
		return false, t.ctx.Err() == nil
	}
	// Half of it is random, so that agents that start together do not stay in
	// step.
	timer := t.config.Clock.NewTimer(backoff.Jittered(delay))
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
		return false, false
	case <-t.wake:
		// News comes in bursts.
		return true, t.pause(max(meetFirst, t.news.wait(t.config.Clock.Now())))
	case <-timer.Chan():
		return false, true
	}
}

// pace allows newsBurst rounds without a pause, and then one every newsEvery.
type pace struct{ due time.Time }

// wait returns how long the next round has to wait.
func (p *pace) wait(now time.Time) time.Duration {
	if full := now.Add(-newsBurst * newsEvery); p.due.Before(full) {
		p.due = full
	}
	p.due = p.due.Add(newsEvery)
	return max(p.due.Sub(now), 0)
}

// pause waits for d and reports whether the transport still lives.
func (t *Transport) pause(d time.Duration) bool {
	return backoff.Pause(t.ctx, t.config.Clock.After(d))
}

// Announce soon sends this agent's hello, which has changed, to the others. It does
// not block.
func (t *Transport) Announce() {
	select {
	case t.wake <- struct{}{}:
	default: // it is about to
	}
}

// Meet exchanges hellos once with every agent whose address is known or in Join.
// Its error names those that did not respond or were refused.
func (t *Transport) Meet(ctx context.Context) error {
	if t.config.TLS == nil {
		return nil
	}
	var mu sync.Mutex
	var failed []error
	var dials sync.WaitGroup
	free := make(chan struct{}, meetAtOnce)
	for _, address := range t.addresses() {
		free <- struct{}{}
		dials.Go(func() {
			defer func() { <-free }()
			if err := t.meetAt(ctx, address); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("cannot meet the agent at %s: %w", address, err))
			}
		})
	}
	dials.Wait()
	return errors.Join(failed...)
}

func (t *Transport) meetAt(ctx context.Context, address string) error {
	conn, _, err := t.dialAt(ctx, address, "", protocolHello)
	if errors.Is(err, errMyself) {
		err = nil
	}
	t.contacts.note(address, t.config.Clock.Now(), err)
	if conn == nil {
		return err
	}
	return conn.Close()
}

// addresses returns the addresses at which agents may be, without duplicates.
func (t *Transport) addresses() []string {
	all := append(t.book.addresses(), t.config.Join...)
	slices.Sort(all)
	own := t.ownAddress()
	return slices.DeleteFunc(slices.Compact(all), func(a string) bool { return a == "" || a == own })
}

// track records an incoming connection, so that stop can close it.
func (t *Transport) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.incoming[c] = struct{}{}
	return true
}

func (t *Transport) untrack(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.incoming, c)
}

// saveLoop saves the memory until the transport stops, and then once more.
func (t *Transport) saveLoop() {
	failed := false
	for going := true; going; {
		going = t.pause(savePeriod)
		err := t.memory.Save(t.config.Memory)
		if err != nil && !failed {
			t.config.Logger.Warningf("%v", err)
		}
		failed = err != nil
	}
}
