package peering

import (
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex/internal/inbound"
)

// listening is a transport that only keeps its contacts, by a test's clock.
func listening(join ...string) (*Transport, *testclock.Clock) {
	now := testclock.NewClock(time.Unix(1000, 0))
	return &Transport{
		config: Config{ID: "a", Clock: now, Join: join, Hello: func() Hello { return Hello{} }}, began: now.Now(), book: newBook("a", nil, nil),
		contacts: contacts{reads: map[string]*lastRead{}, failed: map[string]attempt{}},
	}, now
}

func TestAContactSaysWhenItWasHeardAndWhatHasFailedSince(t *testing.T) {
	tr, now := listening()
	const at = "10.0.0.2:7401"
	if c := tr.contact("b", at); !c.Heard.IsZero() || c.Err != nil {
		t.Errorf("of one that was never met: %+v", c)
	}
	tr.noteRead(tr.contacts.of("b")) // at once, when no time has passed
	if c := tr.contact("b", at); c.Heard.IsZero() || c.Heard.Sub(tr.Began()) > time.Millisecond {
		t.Errorf("of one that was heard at once: %+v", c)
	}
	now.Advance(time.Second)
	tr.contacts.note(at, now.Now(), errors.New("cable"))
	if c := tr.contact("b", at); c.Err == nil || c.Refused || c.Ours {
		t.Errorf("after a failure: %+v", c)
	}
	for ours, is := range map[bool]Contact{true: {Refused: true, Ours: true}, false: {Refused: true}} {
		tr.contacts.note(at, now.Now(), fmt.Errorf("met: %w", &refusedError{reason: "no", ours: ours}))
		if c := tr.contact("b", at); c.Refused != is.Refused || c.Ours != is.Ours {
			t.Errorf("after a verdict, ours %v: %+v", ours, c)
		}
	}
	now.Advance(time.Second)
	tr.noteRead(tr.contacts.of("b"))
	if c := tr.contact("b", at); c.Err != nil || !c.Heard.Equal(now.Now()) {
		t.Errorf("when it was heard again: %+v", c)
	}
	// Nothing was received from an address where no agent was met.
	tr.contacts.note("10.0.0.3:7401", now.Now(), errors.New("cable"))
	if c := tr.contact("", "10.0.0.3:7401"); c.Err == nil {
		t.Errorf("of an address: %+v", c)
	}
	tr.contacts.note("10.0.0.3:7401", now.Now(), nil)
	if c := tr.contact("", "10.0.0.3:7401"); c.Err != nil {
		t.Errorf("of an address that was reached: %+v", c)
	}
}

func TestQuietAreThoseOfWhomNothingWasHeardLately(t *testing.T) {
	const b, c, nobody = "10.0.0.2:7401", "10.0.0.3:7401", "10.0.0.4:7401"
	tr, now := listening(b, nobody)
	for id, at := range map[string]string{"b": b, "c": c} {
		tr.book.learn(meeting{sent: Hello{ID: id, ClusterAddress: at}})
		tr.noteRead(tr.contacts.of(id))
	}
	now.Advance(probeAfter - time.Millisecond)
	if got := tr.quiet(); !reflect.DeepEqual(got, []string{nobody}) {
		t.Errorf("soon: %v", got)
	}
	tr.noteRead(tr.contacts.of("c"))
	now.Advance(2 * time.Millisecond)
	if got := tr.quiet(); !reflect.DeepEqual(got, []string{b, nobody}) {
		t.Errorf("later: %v", got)
	}
	var ids []string
	for _, one := range tr.Contacts() {
		ids = append(ids, one.ID+"@"+one.Address)
	}
	if want := []string{"b@" + b, "c@" + c, "@" + nobody}; !reflect.DeepEqual(ids, want) {
		t.Errorf("the contacts are %v", ids)
	}
}

func TestContactsAreKeptOfSoManyAndNoMore(t *testing.T) {
	tr, now := listening()
	for i := range 3 * maxKnown {
		tr.noteRead(tr.contacts.of(fmt.Sprint(i)))
		tr.contacts.note(fmt.Sprint(i), now.Now(), errors.New("cable"))
	}
	if n := len(tr.contacts.reads); n != maxKnown {
		t.Errorf("%d agents are remembered", n)
	}
	if n := len(tr.contacts.failed); n > 2*maxKnown {
		t.Errorf("%d addresses are remembered", n)
	}
	if tr.contacts.lastFailure(fmt.Sprint(3*maxKnown-1)).err == nil {
		t.Error("the newest failure is forgotten")
	}
}

func TestWhateverArrivesOfAnAgentIsHeard(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	a, _ := w.agent("a", joining(b))
	eventually(t, "they have heard each other's hello", func() bool {
		return !a.Contact("b").Heard.IsZero() && !b.Contact("a").Heard.IsZero()
	})
	in, err := b.Listener()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := in.Accept()
		accepted <- c
	}()
	ours, err := a.DialAPI(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	theirs := <-accepted
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })

	// What the agents say to each other meanwhile is not counted.
	note := new(lastRead)
	ours.(*dialledConn).last = note
	noted := 0
	hear := theirs.(*inbound.Held).Hear
	theirs.(*inbound.Held).Hear = func() { noted++ }
	for _, way := range [][2]net.Conn{{ours, theirs}, {theirs, ours}} {
		if _, err := way[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if note.since.Load() == 0 || noted == 0 {
		t.Errorf("by who dialled at %v, by who was dialled %d times", note.since.Load(), noted)
	}
	b.contacts.of("a").since.Store(0)
	if hear(); b.Contact("a").Heard.IsZero() {
		t.Error("what was heard is not the agent's")
	}
}

func TestNewsOfAnAgentIsPassedOnAtOnce(t *testing.T) {
	tr, _ := listening()
	tr.wake, tr.config.Logger = make(chan struct{}, 1), &notes{}
	told := func() bool {
		select {
		case <-tr.wake:
			return true
		default:
			return false
		}
	}
	hello := Hello{ID: "b", ClusterAddress: "10.0.0.2:7401"}
	if tr.learn(meeting{sent: hello}, nil, protocolHello); !told() {
		t.Error("an agent that was met for the first time is no news")
	}
	if tr.learn(meeting{sent: hello}, nil, protocolHello); told() {
		t.Error("what was known is news")
	}
	hello.ClusterAddress = "10.0.0.3:7401"
	if tr.learn(meeting{sent: hello}, nil, protocolHello); !told() {
		t.Error("an agent that has moved is no news")
	}
}
