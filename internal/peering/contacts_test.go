package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/inbound"
)

// stuck is a network in which one address never answers.
type stuck struct {
	address string
	end     chan struct{} // closed when it lets go
	begun   atomic.Int64  // dials of that address
	others  atomic.Int64
}

func (s *stuck) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if address == s.address {
		s.begun.Add(1)
		<-s.end
		return nil, errors.New("no answer")
	}
	s.others.Add(1)
	return nil, errors.New("refused")
}

func TestAnAddressThatDoesNotAnswerHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	network := &stuck{address: "127.0.0.1:9", end: make(chan struct{})}
	a, _ := w.agent("a", func(c *Config) {
		c.Dialer, c.Join = network, []string{network.address, "127.0.0.1:10"}
	})
	eventually(t, "the other one is asked again and again", func() bool { return network.others.Load() > 3 })
	if n := network.begun.Load(); n != 1 {
		t.Errorf("the stuck address is dialled %d times at once", n)
	}
	close(network.end)
	stop(t, a)
}

func TestAContactSaysHowAnAgentWasReached(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", joining(a), func(c *Config) { c.Join = append(c.Join, "127.0.0.1:9") }) // no agent is at the second
	eventually(t, "they have heard of each other", func() bool {
		return !a.Contact("b").Heard.IsZero() && !b.Contact("a").Heard.IsZero()
	})
	if c := b.Contact("a"); c.ID != "a" || c.Address != a.ListenAddr() || c.Err != nil || c.Heard.Before(b.Began()) {
		t.Errorf("%+v", c)
	}
	eventually(t, "it is known that nobody is there", func() bool {
		for _, c := range b.Contacts() {
			if c.Address == "127.0.0.1:9" && c.ID == "" && c.Err != nil && !c.Refused && c.Heard.IsZero() {
				return true
			}
		}
		return false
	})
	before := a.Contact("b").Heard
	eventually(t, "an agent that is well is heard again and again", func() bool { return a.Contact("b").Heard.After(before) })
	stop(t, a)
	eventually(t, "its end is seen", func() bool { return b.Contact("a").Err != nil })
	if c := b.Contact("nobody"); c.Address != "" || !c.Heard.IsZero() || c.Err != nil {
		t.Errorf("an agent that nobody knows: %+v", c)
	}
}

func TestAContactTellsWhoseVerdictItIs(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a", func(c *Config) {
		c.Accept = func(Hello) error { return errors.New("a stranger") }
	})
	b, _ := w.agent("b", joining(a))
	only := func(tr *Transport) Contact {
		if all := tr.Contacts(); len(all) == 1 {
			return all[0]
		}
		return Contact{}
	}
	eventually(t, "b is refused", func() bool { return only(b).Refused })
	if c := only(b); c.Ours || c.Err.Error() != "it refuses us: a stranger" {
		t.Errorf("%+v", c)
	}
	c, _ := w.agent("c", joining(b), func(c *Config) {
		c.Accept = func(Hello) error { return errors.New("not of mine") }
	})
	eventually(t, "c refuses", func() bool { return only(c).Refused })
	if got := only(c); !got.Ours || got.Err.Error() != "we refuse it: not of mine" {
		t.Errorf("%+v", got)
	}
}

func TestWhoWasHeardOfLongestAgoIsForgottenFirst(t *testing.T) {
	c := contacts{reads: map[string]*lastRead{}}
	for i := range maxKnown {
		c.of(fmt.Sprint(i)).since.Store(int64(maxKnown - i))
	}
	c.of("new").since.Store(1000)
	if len(c.reads) != maxKnown || c.reads["new"] == nil || c.reads["0"] == nil || c.reads[fmt.Sprint(maxKnown-1)] != nil {
		t.Errorf("%d are known", len(c.reads))
	}
	failures := contacts{failed: map[string]attempt{}}
	for i := range 3 * maxKnown {
		failures.note(fmt.Sprint(i), time.Now(), errors.New("away"))
	}
	if n := len(failures.failed); n > 2*maxKnown {
		t.Errorf("%d failures are kept", n)
	}
}

func TestAnAddressThatOthersCannotReachIsNotTakenUp(t *testing.T) {
	far, near := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2)}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	for _, c := range []struct {
		api    string
		from   net.Addr
		become string
	}{
		{"127.0.0.1:7400", far, ""}, {"127.0.0.1:7400", near, "127.0.0.1:7400"}, {"localhost:7400", far, ""},
		{"[::1]:7400", far, ""}, {"10.0.0.2:7400", far, "10.0.0.2:7400"}, {":7400", far, "10.0.0.2:7400"}, {"", far, ""},
	} {
		if got := (Hello{APIAddress: c.api}).completed(inbound.HostOf(c.from), "").APIAddress; got != c.become {
			t.Errorf("%q from %s becomes %q, want %q", c.api, c.from, got, c.become)
		}
	}
}
