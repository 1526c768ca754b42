package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// everywhere listens on all addresses of this machine, and returns its address on
// 127.0.0.2, from which no agent dials.
func everywhere(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return l, net.JoinHostPort("127.0.0.2", port)
}

func TestAgentsOnAllAddressesDoNotGreetForEver(t *testing.T) {
	w := newWorld(t)
	var news atomic.Int64
	la, at := everywhere(t)
	lb, bt := everywhere(t)
	on := func(l net.Listener, join string) func(*Config) {
		return func(c *Config) {
			c.Listener, c.Join, c.OnMeet = l, []string{join}, func(Hello) { news.Add(1) }
		}
	}
	a, _ := w.agent("a", on(la, bt))
	b, _ := w.agent("b", on(lb, at))
	eventually(t, "each has dialled the other", func() bool { return a.book.metByDial("b") && b.book.metByDial("a") })
	atB, atA := a.Address("b"), b.Address("a")
	before := news.Load()
	time.Sleep(3 * time.Second) // a slow machine has less news in it
	if n := news.Load() - before; n > 4 {
		t.Errorf("in 3 s there were %d news, though nothing changes", n)
	}
	if a.Address("b") != atB || b.Address("a") != atA {
		t.Errorf("a knows b at %s, and b knows a at %s, where it was %s and %s", a.Address("b"), b.Address("a"), atB, atA)
	}
}

func (b *book) metByDial(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.met[id].dialled
}

// onAll is the hello of agent b, which listens on all addresses.
func onAll(instance string, met ...Met) Hello {
	return Hello{ID: "b", Instance: instance, ClusterAddress: "[::]:7401", APIAddress: ":7400", Met: met}
}

func ip(address string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(address), Port: 50000} }

func TestWhereAnAgentWasDialledGoesBeforeWhereItWasSeen(t *testing.T) {
	b := newBook("a", nil, nil)
	for _, step := range []struct {
		name string
		do   func() bool
		news bool
		at   string
	}{
		{"seen", func() bool { return b.learn(seenAt(ip("10.0.0.1"), onAll("1"))) }, true, "10.0.0.1:7401"},
		{"seen elsewhere", func() bool { return b.learn(seenAt(ip("10.0.0.2"), onAll("1"))) }, false, "10.0.0.2:7401"},
		{"dialled", func() bool { return b.learn(dialledAt("10.0.0.3:17401", ip("10.0.0.3"), onAll("1"))) }, false, "10.0.0.3:17401"},
		{"seen again", func() bool { return b.learn(seenAt(ip("10.0.0.1"), onAll("1"))) }, false, "10.0.0.3:17401"},
		{"dialled elsewhere", func() bool { return b.learn(dialledAt("10.0.0.4:7401", ip("10.0.0.4"), onAll("1"))) }, false, "10.0.0.3:17401"},
		{"dialled in vain elsewhere", func() bool { b.dialFailed("10.0.0.4:7401"); return b.learn(seenAt(ip("10.0.0.1"), onAll("1"))) }, false, "10.0.0.3:17401"},
		{"dialled in vain", func() bool { b.dialFailed("10.0.0.3:17401"); return false }, false, "10.0.0.3:17401"},
		{"seen where it has moved to", func() bool { return b.learn(seenAt(ip("10.0.0.5"), onAll("1"))) }, false, "10.0.0.5:7401"},
		{"dialled by name", func() bool { return b.learn(dialledAt("b.example:7401", ip("10.0.0.6"), onAll("1"))) }, false, "10.0.0.6:7401"},
		{"another agent is there", func() bool { b.noteReached("10.0.0.6:7401", "c"); return b.learn(seenAt(ip("10.0.0.5"), onAll("1"))) }, false, "10.0.0.5:7401"},
		{"dialled once more", func() bool { return b.learn(dialledAt("10.0.0.6:7401", ip("10.0.0.6"), onAll("1"))) }, false, "10.0.0.6:7401"},
		{"restarted", func() bool { return b.learn(seenAt(ip("10.0.0.7"), onAll("2"))) }, true, "10.0.0.7:7401"},
	} {
		if news := step.do(); news != step.news || b.address("b") != step.at {
			t.Errorf("%s: news %v, at %s; want %v, %s", step.name, news, b.address("b"), step.news, step.at)
		}
	}
	if at := b.apiAddress("b"); at != "10.0.0.7:7400" {
		t.Errorf("its API is at %s", at)
	}
}

func TestWhereOthersWereMetIsNoNews(t *testing.T) {
	b := newBook("a", nil, nil)
	met := Met{ID: "c", Incarnation: "1", Address: "10.0.0.3:7401"}
	b.learn(seenAt(ip("10.0.0.2"), onAll("1", met)))
	if at := b.address("c"); at != met.Address {
		t.Errorf("c is at %q", at)
	}
	met.Address = "10.0.0.4:7401"
	if b.learn(seenAt(ip("10.0.0.2"), onAll("1", met))) {
		t.Error("another address is news")
	}
	if at := b.address("c"); at != met.Address {
		t.Errorf("c has moved, and is at %q", at)
	}
	met.Incarnation = "2"
	if !b.learn(seenAt(ip("10.0.0.2"), onAll("1", met))) {
		t.Error("another incarnation is no news")
	}
}

func TestWhyAnAgentMustNotLeadIsNoNews(t *testing.T) {
	b := newBook("a", nil, nil)
	says := func(unfit string) bool {
		h := onAll("1")
		h.Log.Unfit = unfit
		return b.learn(seenAt(ip("10.0.0.2"), h))
	}
	says("")
	if !says("its log ends at 3/10") {
		t.Error("that it must not lead is no news")
	}
	if says("its log ends at 3/11") || b.hellos()[0].Log.Unfit != "its log ends at 3/11" {
		t.Error("other words for it are news, or are not known")
	}
	if !says("") {
		t.Error("that it may lead again is no news")
	}
}

func TestWhatOthersSayOfAgentsIsCheckedAndForgotten(t *testing.T) {
	b := newBook("a", nil, nil)
	said := []Met{{ID: "a", Address: "10.0.0.1:7401"}, {ID: "No", Address: "10.0.0.3:7401"}, {ID: "c", Address: "nowhere"}, {ID: "d", Address: "0.0.0.0:7401"}}
	for i := range 2 * maxKnown {
		said = append(said, Met{ID: fmt.Sprint("x", i), Address: "10.0.0.4:7401"})
	}
	b.learn(seenAt(ip("10.0.0.2"), onAll("1", said...)))
	if n := len(b.addresses()); n != 1+maxKnown {
		t.Errorf("%d addresses are known", n)
	}
	for _, id := range []string{"a", "No", "c", "d"} {
		if at := b.address(id); at != "" {
			t.Errorf("%s is at %q", id, at)
		}
	}
	b.learn(seenAt(ip("10.0.0.2"), onAll("1")))
	if all := b.addresses(); len(all) != 1 {
		t.Errorf("%d addresses are known when nobody says them any more", len(all))
	}
}

// A disk that was removed may be a former one of an agent that has another by now.
func TestAnAgentIsForgottenByItsDisk(t *testing.T) {
	b := newBook("b", nil, nil)
	b.learn(seenAt(ip("10.0.0.1"), Hello{ID: "a", Incarnation: "a-2", ClusterAddress: "10.0.0.1:7401"}))
	for disk, want := range map[string]string{"a-1": "10.0.0.1:7401", "": "10.0.0.1:7401"} {
		if b.forget("a", disk); b.address("a") != want {
			t.Errorf("behind the removal of %q it is at %q", disk, b.address("a"))
		}
	}
	if b.forget("a", "a-2"); b.address("a") != "" {
		t.Errorf("behind its own removal it is at %q", b.address("a"))
	}
}

func TestAnAddressByNameIsKnownForTheAgentThatItHasReached(t *testing.T) {
	b := newBook("a", nil, nil)
	b.learn(dialledAt("b.example:7401", ip("10.0.0.6"), onAll("1")))
	b.noteReached("b.example:7401", "b")
	if id := b.idAt("b.example:7401"); id != "b" {
		t.Errorf("at its name is %q", id)
	}
	for i := range 5 * maxKnown {
		b.noteReached(fmt.Sprint(i), "b")
	}
	if n := len(b.reached); n > 2*maxKnown {
		t.Errorf("%d addresses are remembered", n)
	}
}

// slow is a network that answers when it is let.
type slow struct{ begun, let chan struct{} }

func (s *slow) DialContext(context.Context, string, string) (net.Conn, error) {
	s.begun <- struct{}{}
	<-s.let
	return nil, errors.New("no")
}

func TestNewsIsToldAgainWhereADialWasUnderWay(t *testing.T) {
	w := newWorld(t)
	network := &slow{make(chan struct{}), make(chan struct{})}
	tr := &Transport{ctx: t.Context(), config: w.config("a", &notes{}), book: newBook("a", nil, nil), dialling: map[string]bool{},
		contacts: contacts{failed: map[string]attempt{}}}
	tr.config.Dialer = network
	begun := func() {
		t.Helper()
		select {
		case <-network.begun:
		case <-time.After(20 * time.Second):
			t.Fatal("it is not dialled")
		}
	}
	tr.meetSoon("b:1", false)
	begun()
	tr.meetSoon("b:1", false) // is in progress
	tr.meetSoon("b:1", true)
	network.let <- struct{}{}
	begun()
	network.let <- struct{}{}
	tr.meeting.Wait()
	if len(tr.dialling) > 0 {
		t.Errorf("still dialling %v", tr.dialling)
	}
}

// Who is reached at an address is where it was met; another agent that was met
// there is not any more.
func TestAnAgentThatIsReachedIsNotDoubted(t *testing.T) {
	b := newBook("a", nil, nil)
	const at = "10.0.0.3:7401"
	b.learn(dialledAt(at, ip("10.0.0.3"), onAll("1")))
	b.noteReached(at, "b")
	if !b.metByDial("b") {
		t.Error("it is doubted where it was reached")
	}
	b.noteReached("10.0.0.4:7401", "c")
	b.dialFailed("10.0.0.4:7401")
	if !b.metByDial("b") {
		t.Error("it is doubted for another address")
	}
	b.noteReached(at, "c")
	if b.metByDial("b") {
		t.Error("it is not doubted where another one was reached")
	}
}

func TestADialInVainDoubtsTheAddress(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a", func(c *Config) { c.Dialer = noDialer{} })
	a.book.learn(dialledAt("10.0.0.3:7401", ip("10.0.0.3"), onAll("1")))
	if _, _, err := a.dialAt(t.Context(), "10.0.0.3:7401", "b", protocolHello); err == nil {
		t.Fatal("it is reached")
	}
	if a.book.metByDial("b") {
		t.Error("it is not doubted where it was dialled in vain")
	}
}

func TestTheLoopDialsSoManyAtOnceAndNoMore(t *testing.T) {
	w := newWorld(t)
	network := &slow{make(chan struct{}), make(chan struct{})}
	tr := &Transport{ctx: t.Context(), config: w.config("a", &notes{}), book: newBook("a", nil, nil), dialling: map[string]bool{},
		contacts: contacts{failed: map[string]attempt{}}}
	tr.config.Dialer = network
	for i := range 2 * meetMost {
		tr.meetSoon(fmt.Sprintf("b:%d", i+1), false)
	}
	tr.mu.Lock()
	if n := len(tr.dialling); n != meetMost {
		t.Errorf("it dials %d at once", n)
	}
	tr.mu.Unlock()
	go func() {
		for range network.begun {
			network.let <- struct{}{}
		}
	}()
	tr.meeting.Wait()
	close(network.begun)
}

// noted is a Store that has something.
type noted string

func (n noted) Load() ([]byte, error) { return []byte(n), nil }
func (noted) Save([]byte) error       { return nil }

func TestAnAgentLooksForTheOthersWhereItMetThem(t *testing.T) {
	w := newWorld(t)
	const peers = `{"b":{"incarnation":"b-1","at":"10.0.0.2:7401"},"c":{"incarnation":"c-1","at":"10.0.0.3:7401"},"d":{"incarnation":"d-1","at":"no address"}}`
	members := map[string]string{} // until the log is applied
	a, _ := w.agent("a", func(c *Config) {
		c.Memory = noted(peers)
		c.Recorded = func() map[string]string { return members }
	})
	for _, now := range []struct{ b, c string }{{"10.0.0.2:7401", "10.0.0.3:7401"}, {"", "10.0.0.33:7401"}} { // then b was removed
		if b, c, d := a.Address("b"), a.Address("c"), a.Address("d"); b != now.b || c != now.c || d != "" {
			t.Errorf("b is at %q, c at %q, d at %q", b, c, d)
		}
		dialled := a.book.addresses()
		if slices.Contains(dialled, "10.0.0.2:7401") != (now.b != "") || !slices.Contains(dialled, now.c) {
			t.Errorf("dialled are %v", dialled)
		}
		members = map[string]string{"c": "10.0.0.33:7401"}
	}
}
