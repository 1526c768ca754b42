package manifolds

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/clock/testclock"
	"github.com/juju/worker/v3"
)

// openPorts are ports of an agent that runs.
func openPorts(t *testing.T) *ports {
	t.Helper()
	p := newPorts(clock.WallClock)
	w, err := node{start: p.start}.manifold("ports", same, nil).Start(given(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := worker.Stop(w); err != nil {
			t.Error(err)
		}
	})
	return p
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func TestAPortIsPassedFromOneLifeToTheNext(t *testing.T) {
	p := openPorts(t)
	first, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	next, err := p.bind(t.Context(), "api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", next)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if !listens(address) {
		t.Error("the port is free between two lives")
	}
	second, err := p.listen("api", "127.0.0.1:0")
	if err != nil || second.Addr().String() != address {
		t.Fatalf("the next life has %v, %v", second.Addr(), err)
	}
	if err := second.Close(); err != nil || listens(address) {
		t.Errorf("closed (%v), it is still bound", err)
	}
}

func TestABoundPortThatNobodyTakesIsClosedWithTheAgent(t *testing.T) {
	p := newPorts(clock.WallClock)
	w, err := node{start: p.start}.manifold("ports", same, nil).Start(given(nil))
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := p.bind(t.Context(), "api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", replaced)
	left, err := p.bind(t.Context(), "api", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", left)
	if listens(replaced.Addr().String()) || !listens(left.Addr().String()) {
		t.Error("the last one that was bound is the one that waits")
	}
	if err := worker.Stop(w); err != nil {
		t.Fatal(err)
	}
	late, err := p.bind(t.Context(), "api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", late)
	if listens(left.Addr().String()) || listens(late.Addr().String()) {
		t.Error("a port is bound after the end")
	}
}

func TestWhatWaitsIsBoundAgainAndDroppedWithItsConfiguration(t *testing.T) {
	p := openPorts(t)
	live, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	first, err := p.bind(t.Context(), "api", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", first)
	address := first.Addr().String()
	for _, same := range []string{"localhost:0", address} {
		again, err := p.bind(t.Context(), "api", same)
		if err != nil || again.Addr().String() != address {
			t.Fatalf("%s: a second reload has %v, %v", same, again.Listener, err)
		}
		p.pass("api", again)
	}
	dated, err := p.listen("api", "127.0.0.1:0") // under the configuration before
	if err != nil {
		t.Fatal(err)
	}
	_ = dated.Close()
	if !listens(address) {
		t.Error("a start under another address took what waits")
	}
	p.pass("api", bound{})
	if listens(address) || len(p.next) != 0 {
		t.Error("a configuration without the address left it bound")
	}
}

func TestABoundPortThatIsNotTakenOverInTimeIsClosed(t *testing.T) {
	c := testclock.NewClock(time.Now())
	p := newPorts(c)
	p.open = true
	for range 2 { // the first is taken over, the second is not
		next, err := p.bind(t.Context(), "api", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.pass("api", next)
		if len(p.live) == 0 {
			if _, err := p.listen("api", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	served := p.live["api"]
	address := served.Addr().String()
	c.Advance(takeoverTimeout)
	for start := time.Now(); time.Since(start) < time.Minute && p.report()["next-api"] != nil; {
		runtime.Gosched() // the clock calls in a goroutine of its own
	}
	if p.report()["next-api"] != nil || !listens(address) {
		t.Errorf("what is left: %v", p.report())
	}
	_ = served.Close()
	if listens(address) {
		t.Error("a duplicate is left")
	}
}

// watched runs a function when it is closed.
type watched struct {
	net.Listener
	closing func()
}

func (w watched) Close() error {
	w.closing()
	return w.Listener.Close()
}

func TestAPortThatIsBeingClosedIsNotTakenForSomebodyElses(t *testing.T) {
	p := openPorts(t)
	served, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := served.(*port)
	l.Listener = watched{l.Listener, func() {
		if p.mu.TryLock() {
			defer p.mu.Unlock()
			t.Error("a reload can come between the end of the service and that of the port")
		}
	}}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// silentDNS makes the lookup of names wait until the end of the test.
func silentDNS(t *testing.T) (asked <-chan struct{}) {
	t.Helper()
	first := make(chan struct{})
	release := make(chan struct{})
	var once sync.Once
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		once.Do(func() { close(first) })
		<-release
		return nil, errors.New("no name server")
	}}
	t.Cleanup(func() {
		close(release)
		net.DefaultResolver = before
	})
	return first
}

func TestNothingWaitsForALookup(t *testing.T) {
	// The first lookup of a process makes a channel that package net keeps: made
	// in a bubble, it would be of no use to any other test.
	if _, err := (&net.Resolver{PreferGo: true}).LookupHost(t.Context(), "localhost"); err != nil {
		t.Fatal(err)
	}
	for what, use := range map[string]func(*ports) error{
		"bind": func(p *ports) error {
			_, err := p.bind(context.Background(), "api", "host.example:80")
			return err
		},
		"listen": func(p *ports) error {
			_, err := p.listen("api", "host.example:80")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lookUp(t, use) })
		})
	}
}

// lookUp uses ports while no name server answers.
func lookUp(t *testing.T, use func(*ports) error) {
	p, asked := openPorts(t), silentDNS(t)
	began := time.Now()
	used := make(chan error, 1)
	go func() { used <- use(p) }()
	<-asked
	if !p.mu.TryLock() {
		t.Error("a lookup goes on under the lock of Report")
	} else {
		p.mu.Unlock()
	}
	if err := <-used; err == nil || !strings.Contains(err.Error(), "host.example") || time.Since(began) > lookupTimeout {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestAnAddressThatCollidesWithTheAgentsOwnIsSaidToBe(t *testing.T) {
	p := openPorts(t)
	l, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if _, err := p.bind(t.Context(), "api", "0.0.0.0:"+port); err == nil || !strings.Contains(err.Error(), "this agent itself listens on") {
		t.Errorf("got %v", err)
	}
	same, err := p.bind(t.Context(), "api", "localhost:"+port) // another name for the same
	if err != nil {
		t.Fatal(err)
	}
	_ = same.Close()
}

func TestThePortThatIsServedIsTheNewest(t *testing.T) {
	p := openPorts(t)
	first, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.report()["api"]; got != second.Addr().String() {
		t.Errorf("after the end of the first it is %v, want %s", got, second.Addr())
	}
	next, err := p.bind(t.Context(), "api", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", next)
	if got := p.report()["next-api"]; got != next.Addr().String() {
		t.Errorf("the next is %v, want %s", got, next.Addr())
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if got, is := p.report()["api"]; is {
		t.Errorf("when none is served it is %v", got)
	}
}

func TestAnAddressThatSomebodyElseHasIsSaidToBeTheirs(t *testing.T) {
	p := openPorts(t)
	l, err := p.listen("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := p.bind(t.Context(), "api", taken.Addr().String()); err == nil || strings.Contains(err.Error(), "this agent itself") {
		t.Errorf("got %v", err)
	}
}
