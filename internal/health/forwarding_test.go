package health

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/silent"
)

// nobody is reached by it.
type nobody struct{}

func (nobody) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nobody there")
}

func TestAnAgentWithoutRaftSaysThatItReachesNoMember(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	given, err := ca.TLS("f1")
	if err != nil {
		t.Fatal(err)
	}
	g := forward.NewGateway(forward.GatewayConfig{
		TLS: given, Dialer: nobody{}, Join: func() []string { return []string{"10.0.0.1:7401"} }, Lead: func(interrex.Leadership) {},
		Token: func() (string, error) { return "", nil }, Clock: clock.WallClock, Logger: silent.Logger{},
	})
	defer func() { g.Kill(); _ = g.Wait() }()
	a := newAgent(t)
	a.view.Forwards, a.view.Gateway, a.view.Raft = true, g, nil
	eventually(t, "it does not say so", func() bool {
		found := a.find("forward-down")
		return len(found) == 1 && strings.Contains(found[0].Text, "10.0.0.1:7401: nobody there") && time.Since(found[0].Since) < time.Minute
	})
	status := a.health.Status()
	if status.State != interrex.Forwarding || !strings.Contains(status.Quorum, "reaches no member") {
		t.Errorf("the status is %s, %s", status.State, status.Quorum)
	}
	if checks := a.health.Ready(); len(checks) != 2 || checks[0].Err == nil {
		t.Errorf("it is ready: %v", checks)
	}
	for _, other := range []string{"raft-down", "api-open", "quorum-lost"} {
		if found := a.find(other); len(found) > 0 {
			t.Errorf("%s: %v", other, found)
		}
	}
}
