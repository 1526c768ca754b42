package manifolds

import (
	"net"
	"strings"
	"testing"

	"github.com/juju/worker/v3"
)

// openPorts are ports of an agent that runs.
func openPorts(t *testing.T) *ports {
	t.Helper()
	p := newPorts()
	w, err := p.manifold().Start(nil)
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
	next, err := p.bind("api", "127.0.0.1:0")
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
	p := newPorts()
	w, err := p.manifold().Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := p.bind("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", replaced)
	left, err := p.bind("api", "127.0.0.1:0")
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
	late, err := p.bind("api", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.pass("api", late)
	if listens(left.Addr().String()) || listens(late.Addr().String()) {
		t.Error("a port is bound after the end")
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
	if _, err := p.bind("api", "0.0.0.0:"+port); err == nil || !strings.Contains(err.Error(), "this agent itself listens on") {
		t.Errorf("got %v", err)
	}
	same, err := p.bind("api", "localhost:"+port) // another name for the same
	if err != nil {
		t.Fatal(err)
	}
	_ = same.Close()
}
