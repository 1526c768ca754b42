package apiserver

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/method"
)

func TestAServiceIsSwitchedWhileStreamsOfTheServerGoOn(t *testing.T) {
	switches := method.NewSwitches()
	nd := cluster(t, 1, func(c *Config) { c.Switches = switches })[0]
	s := nd.stream(t.Context(), nd.url)
	kinds := func(id uint64) string {
		s.send(claimOp(id, fmt.Sprintf("a/%d", id), "ann"))
		return s.answers(1)[id].GetError().GetKind()
	}
	for id, on := range []bool{true, false, false, true, true} {
		switches.Switch(method.LeasesSetting, on)
		switches.Switch(method.ChangesSetting, !on)
		want := "disabled"
		if on {
			want = ""
		}
		if kind := kinds(uint64(id + 1)); kind != want {
			t.Errorf("switched to %v it answers %q", on, kind)
		}
	}
}

// Watches of other services, and of other agents, continue.
func TestWatchesOfAServiceEndWhenItIsSwitchedOff(t *testing.T) {
	switches := method.NewSwitches()
	nd := cluster(t, 1, func(c *Config) { c.Switches = switches })[0]
	s := nd.watches()
	s.open(1, 10, &interrexv1.WatchRequest{})
	alone, err := interrexv1.NewLeaseServiceClient(nd.http, nd.url).Watch(t.Context(), connect.NewRequest(&interrexv1.WatchRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	switches.Switch(method.ChangesSetting, false)
	switches.Switch(method.LeasesSetting, false)
	s.until(func() bool { return s.ended[1] != nil })
	if ready := nd.get(nd.url + "/readyz?verbose"); ready.status != 200 || !strings.Contains(ready.body, "[ ] features.leases is off\n") {
		t.Errorf("readyz: %d %s", ready.status, ready.body)
	}
	if kind := s.ended[1].GetKind(); kind != "disabled" {
		t.Errorf("it ended with %q", kind)
	}
	for alone.Receive() {
	}
	if err := alone.Err(); err == nil || !strings.Contains(err.Error(), "set features.leases") {
		t.Errorf("the call ended with %v", err)
	}
	s.open(2, 10, &interrexv1.WatchRequest{})
	if kind := s.refused[2].GetKind(); kind != "disabled" {
		t.Errorf("another one is refused with %q", kind)
	}
	switches.Switch(method.LeasesSetting, true)
	s.open(3, 10, &interrexv1.WatchRequest{})
	if !s.opened[3] {
		t.Errorf("it is refused when leases are on again: %v", s.refused[3])
	}
}

func TestAStreamOfEventsEndsWhenItsServiceIsSwitchedOff(t *testing.T) {
	switches := method.NewSwitches()
	nd := cluster(t, 1, func(c *Config) { c.Switches = switches })[0]
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, nd.url+"/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	answer, err := nd.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	switches.Switch(method.ChangesSetting, false)
	var said strings.Builder
	for in := bufio.NewScanner(answer.Body); in.Scan(); {
		said.WriteString(in.Text())
	}
	if !strings.Contains(said.String(), "disabled") {
		t.Errorf("it says %s", said.String())
	}
}

func TestHooksThatAreSwitchedOffAreNotAsked(t *testing.T) {
	switches := method.NewSwitches(method.WebhooksSetting)
	nd := cluster(t, 1, withHooks(t), func(c *Config) { c.Switches = switches })[0]
	switches.Switch(method.WebhooksSetting, true)
	nd.setHook("refuse", "http://127.0.0.1:1/", "")
	switches.Switch(method.WebhooksSetting, false)
	if r := nd.curl("LeaseService/Claim", `{"key":"a/c","holder":"ann"}`); r.kind() != "vetoed" || !strings.Contains(r.body, "webhooks are off") {
		t.Errorf("%d %s", r.status, r.body)
	}
}
