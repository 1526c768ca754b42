package agent_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/interrextest"
	"github.com/interrex/interrex/state"
)

// register is an embedder's table without a service.
func register() (state.Table, api.Service) { return testtable.NewRegister(), api.Service{} }

// withRegister starts three agents with the table, and returns one that does not
// lead.
func withRegister(t *testing.T, change func(*agent.Config)) (c *interrextest.Cluster, follower int) {
	t.Helper()
	c = interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(_ int, c *agent.Config) {
		c.Tables = []agent.Table{register}
		if change != nil {
			change(c)
		}
	}})
	return c, (c.Leader() + 1) % len(c.Agents())
}

// write proposes to set a key of the register.
func write(key, text string) interrex.Proposal {
	return interrex.Proposal{Table: uint16(testtable.RegisterTable), Data: testtable.Set(key, text, 0)}
}

// written reads the register's reply.
func written(t *testing.T, a interrex.Answer[[]byte]) testtable.Value {
	t.Helper()
	reply, err := testtable.NewRegister().DecodeReply(a.Value)
	if err != nil {
		t.Fatal(err)
	}
	return reply.(*testtable.RegisterReply).Value
}

// newer is a register whose commands came with version 2, on agents of two versions.
type newer struct {
	*testtable.Register
	version uint16
}

type newerCommand struct{ state.Command }

func (c newerCommand) About() state.About {
	about := c.Command.About()
	about.Since = 2
	return about
}

func (r newer) Version() uint16 { return r.version }

func (r newer) Decode(data []byte) (state.Command, error) {
	c, err := r.Register.Decode(data)
	return newerCommand{c}, err
}

func (r newer) Check(now state.Time, c state.Command) error {
	return r.Register.Check(now, c.(newerCommand).Command)
}

func (r newer) Apply(turn *state.Turn, c state.Command) state.Reply {
	return r.Register.Apply(turn, c.(newerCommand).Command)
}

// The third agent has an earlier version of a table than the others.
func TestWhatAMemberCannotApplyYetIsRefused(t *testing.T) {
	old := true
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(i int, c *agent.Config) {
		c.Tables = []agent.Table{func() (state.Table, api.Service) {
			if i == 2 && old {
				return newer{testtable.NewRegister(), 1}, api.Service{}
			}
			return newer{testtable.NewRegister(), 2}, api.Service{}
		}}
	}})
	ends := func(as string) { // never with success before that
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // a poll
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := c.Agent(0).Propose(ctx, write("k", "v"))
			cancel()
			if strings.Contains(fmt.Sprint(err), as) {
				return
			}
			if err == nil || time.Now().After(end) {
				t.Fatalf("it ends with %v, not %q", err, as)
			}
		}
	}
	alone := func() { // the others start when it does not run, and have not met it
		t.Helper()
		c.Stop(2)
		c.Stop(1)
		c.Stop(0)
		c.Start(0)
		c.Start(1)
	}
	alone()
	ends("agent n3 may be unable to apply this")
	c.Start(2)
	ends("agent n3 cannot apply this yet")
	eventually(t, "the founders are recorded", func() bool {
		all, _, err := c.Agent(0).Members().List(t.Context(), interrex.ReadOptions{})
		return err == nil && len(all) == 3 && len(all[2].Tables) > 0
	})
	alone()
	ends("agent n3 cannot apply this yet")
	old = false
	c.Start(2)
	eventually(t, "all can apply it", func() bool {
		_, err := c.Agent(0).Propose(t.Context(), write("k", "v"))
		return err == nil
	})
}

func TestAnyAgentProposesToATableWithoutAService(t *testing.T) {
	c, follower := withRegister(t, nil)
	callers := map[string]client.Caller{
		"a client's stream": c.Client(follower), "a client's unary calls": oneShot(t, c.Agent(follower)),
	}
	for _, a := range c.Agents() {
		callers["agent "+a.ID()] = a
	}
	var last interrex.Revision
	for name, by := range callers {
		got, err := client.Through(by).Propose(t.Context(), write("key", name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if v := written(t, got); v.Text != name || v.Revision != got.Revision || got.Revision <= last || got.Replayed {
			t.Errorf("%s: %+v with %+v, after revision %s", name, got, v, last)
		}
		last = got.Revision
	}
}

func oneShot(t *testing.T, a *agent.Agent) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{"http://" + a.Addrs()["api"]}, OneShot: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAProposalIsDoneOnceForItsRequestID(t *testing.T) {
	c, follower := withRegister(t, nil)
	p := write("key", "mine")
	p.RequestID = "mine"
	// With an id of one's own each call is one attempt, and leadership may be lost
	// meanwhile.
	ask := func(a *agent.Agent) (answer interrex.Answer[[]byte], err error) {
		for range 10 {
			if answer, err = a.Propose(t.Context(), p); interrex.KindOf(err) != interrex.ErrOutcomeUnknown {
				break
			}
			p.Attempt++
		}
		return answer, err
	}
	first, err := ask(c.Agent(follower))
	if err != nil || first.Replayed && p.Attempt == 0 {
		t.Fatal(first, err)
	}
	if _, err := c.Agent(follower).Propose(t.Context(), write("key", "another's")); err != nil {
		t.Fatal(err)
	}
	for i, a := range c.Agents() {
		p.Attempt++
		again, err := ask(a)
		if err != nil || !again.Replayed || again.Revision != first.Revision || !bytes.Equal(again.Value, first.Value) {
			t.Errorf("asked again on agent %d: %+v (%v), want %+v replayed", i, again, err, first)
		}
	}
	p.Data = testtable.Set("key", "other", 0)
	if _, err := c.Agent(follower).Propose(t.Context(), p); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("another one under the same id: %v", err)
	}
}

func TestAFencedProposalNeedsItsLease(t *testing.T) {
	c, follower := withRegister(t, nil)
	a := c.Agent(follower)
	held, err := a.Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := write("key", "mine")
	p.Fence = interrex.Fence{Key: held.Key(), Token: held.Token()}
	if _, err := a.Propose(t.Context(), p); err != nil {
		t.Errorf("while the lease is held: %v", err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Propose(t.Context(), p); !errors.Is(err, interrex.ErrNotHeld) {
		t.Errorf("after its end: %v, want not held", err)
	}
}

func TestTheDoorRefusesWhatIsNoProposal(t *testing.T) {
	c, follower := withRegister(t, nil)
	callers := []client.Caller{c.Agent(follower), c.Client(c.Leader()), oneShot(t, c.Agent(follower))}
	named(t, callers)
	before := revision(t, c.Agent(follower))
	for name, test := range map[string]struct {
		p    interrex.Proposal
		text string
	}{
		"malformed":      {interrex.Proposal{Table: 256, Data: []byte{9}}, "malformed"},
		"empty":          {interrex.Proposal{Table: 256}, "malformed"},
		"unknown table":  {interrex.Proposal{Table: 300, Data: testtable.Set("a", "b", 0)}, "unknown table 300"},
		"the leases":     {interrex.Proposal{Table: uint16(machine.LeaseTable), Data: []byte{1}}, "those are 256 to 65535"},
		"the state's":    {interrex.Proposal{Table: uint16(machine.SystemTable), Data: []byte{1, 2}}, "own state machine, and there is none"},
		"the machine's":  {interrex.Proposal{Table: uint16(machine.FSMTable), Data: []byte{1, 2}}, "those are 256 to 65535"},
		"the last known": {interrex.Proposal{Table: 255}, "those are 256 to 65535"},
	} {
		for _, by := range callers {
			_, err := client.Through(by).Propose(t.Context(), test.p)
			if !errors.Is(err, interrex.ErrInvalid) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v, want invalid: %s", name, err, test.text)
			}
		}
	}
	if after := revision(t, c.Agent(follower)); after != before {
		t.Errorf("the refusals took the state from revision %s to %s", before, after)
	}
}

// revision returns the revision of an agent's state, from a strong read.
func revision(t *testing.T, a *agent.Agent) interrex.Revision {
	t.Helper()
	page, err := a.Leases().List(t.Context(), interrex.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return page.Revision
}

func TestCurlProposes(t *testing.T) {
	c, follower := withRegister(t, nil)
	propose := func(table int, data []byte, rest string) (int, map[string]any) {
		t.Helper()
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		body := fmt.Sprintf(`{"table":%d,"data":%q%s}`, table, base64.StdEncoding.EncodeToString(data), rest)
		r, err := hc.Post("http://"+c.Agent(follower).Addrs()["api"]+"/interrex.v1.StateService/Propose", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var answer map[string]any
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, answer
	}
	data := testtable.Set("key", "mine", 0)
	status, first := propose(256, data, `,"request_id":"mine"`)
	if status != http.StatusOK || first["replayed"] != false || first["revision"] == "0" {
		t.Fatalf("%d %v", status, first)
	}
	status, again := propose(256, data, `,"request_id":"mine","attempt":1`)
	if status != http.StatusOK || again["replayed"] != true || again["reply"] != first["reply"] || again["revision"] != first["revision"] {
		t.Errorf("asked again: %d %v, want %v", status, again, first)
	}
	if status, answer := propose(256, data, `,"fence":{"key":"mine/leader","token":7}`); status != http.StatusConflict {
		t.Errorf("a fence that is not held: %d %v", status, answer)
	}
	for table, data := range map[int][]byte{256: {9}, 300: data, 1: data, 0: data, 65536 + 256: data} {
		if status, answer := propose(table, data, ""); status != http.StatusBadRequest {
			t.Errorf("to table %d: %d %v", table, status, answer)
		}
	}
}

func TestProposalsPassWhereLeasesAreOff(t *testing.T) {
	c, follower := withRegister(t, func(c *agent.Config) { c.Features.Leases = config.Off })
	if _, err := c.Agent(follower).Propose(t.Context(), write("key", "mine")); err != nil {
		t.Error(err)
	}
	if _, err := client.Through(c.Client(follower)).Propose(t.Context(), write("key", "mine")); err != nil {
		t.Error(err)
	}
}

func TestAStoppedAgentProposesNothing(t *testing.T) {
	c := quiet(t)
	c.Tables = []agent.Table{register}
	a := newAgent(t, c)
	if _, err := a.Propose(t.Context(), write("key", "mine")); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("before its start: %v", err)
	}
	start(t, a)
	if _, err := a.Propose(t.Context(), write("key", "mine")); err != nil {
		t.Error(err)
	}
}

func TestARestartKeepsWhatWasProposed(t *testing.T) {
	c, follower := withRegister(t, nil)
	p := write("key", "mine")
	p.RequestID = "mine"
	first, err := c.Agent(follower).Propose(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	c.Restart(follower)
	ctx := t.Context()
	remove := interrex.Proposal{Table: p.Table, Data: testtable.Delete("key")}
	if again, err := c.Agent(follower).Propose(ctx, p); err != nil || !again.Replayed || again.Revision != first.Revision {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if got, err := c.Agent(follower).Propose(ctx, remove); err != nil || written(t, got).Text != "mine" {
		t.Errorf("removed: %+v, %v", got, err)
	}
	began := time.Now()
	if _, err := c.Agent(follower).Propose(ctx, remove); !errors.Is(err, interrex.ErrNotFound) || time.Since(began) > 15*time.Second {
		t.Errorf("the table's own refusal: %v after %v", err, time.Since(began))
	}
}
