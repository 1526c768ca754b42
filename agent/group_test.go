package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/testtable"
)

// proposes makes an operation of a group that sets a key of the register.
func proposes(key, text string) proto.Message {
	return &interrexv1.ProposeRequest{Table: uint32(testtable.RegisterTable), Data: testtable.Set(key, text, 0)}
}

func claims(key string) *interrexv1.ClaimRequest {
	return &interrexv1.ClaimRequest{Key: key, Holder: "ann"}
}

func TestAnyAgentTakesAGroup(t *testing.T) {
	c, follower := withRegister(t, nil)
	callers := map[string]client.Caller{
		"a client's stream": c.Client(follower), "a client's unary calls": oneShot(t, c.Agent(follower)),
	}
	for _, a := range c.Agents() {
		callers["agent "+a.ID()] = a
	}
	for name, by := range callers {
		key := "keys/" + strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", "-")
		got, err := client.Through(by).Group(t.Context(), []proto.Message{claims(key), proposes(key, "mine"), &interrexv1.ResourceServiceWriteRequest{
			Resource: &interrexv1.Resource{Id: &interrexv1.ResourceID{Type: &interrexv1.ResourceType{Group: "test", GroupVersion: "v1", Kind: "Thing"}, Name: key}},
		}}, client.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		claimed, proposed, written := got.Value[0].(*interrexv1.ClaimResponse), got.Value[1].(*interrexv1.ProposeResponse), got.Value[2].(*interrexv1.ResourceServiceWriteResponse)
		first := uint64(got.Revision) - 2
		if claimed.GetLease().GetToken() != first || claimed.GetRevision() != first || proposed.GetRevision() != first+1 || written.GetRevision() != first+2 ||
			written.GetResource().GetId().GetUid() == "" || got.Replayed {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAGroupIsDoneOnceForItsRequestID(t *testing.T) {
	c, follower := withRegister(t, nil)
	held, err := c.Agent(follower).Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := []proto.Message{claims("a/b"), proposes("key", "mine")}
	o := client.Options{RequestID: "mine", Fence: interrex.Fence{Key: held.Key(), Token: held.Token()}}
	first, err := client.Through(c.Agent(follower)).Group(t.Context(), all, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range c.Agents() {
		o.Attempt++
		again, err := client.Through(a).Group(t.Context(), all, o)
		if err != nil || !again.Replayed || again.Revision != first.Revision || again.Value[0].(*interrexv1.ClaimResponse).GetLease().GetToken() != uint64(first.Revision)-1 {
			t.Errorf("asked again: %+v (%v), want %+v replayed", again, err, first)
		}
	}
	if _, err := client.Through(c.Agent(follower)).Group(t.Context(), all[:1], o); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("another one under the same id: %v", err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.RequestID = "other"
	if _, err := client.Through(c.Agent(follower)).Group(t.Context(), []proto.Message{proposes("key", "late")}, o); !errors.Is(err, interrex.ErrNotHeld) {
		t.Errorf("after its fence: %v, want not held", err)
	}
}

// named lets callers make a write each: the first one of a client takes a name for its
// request ids, and with it a revision.
func named(t *testing.T, callers []client.Caller) {
	t.Helper()
	for i, by := range callers {
		in := &interrexv1.ClaimRequest{Key: fmt.Sprint("named/", i), Holder: "x"}
		if _, err := client.Call[interrexv1.ClaimRequest, interrexv1.ClaimResponse](t.Context(), by, interrexv1.LeaseServiceClaimProcedure, in, client.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheDoorRefusesWhatIsNoGroup(t *testing.T) {
	c, follower := withRegister(t, nil)
	callers := []client.Caller{c.Agent(follower), c.Client(c.Leader()), oneShot(t, c.Agent(follower))}
	named(t, callers)
	before := revision(t, c.Agent(follower))
	with := func(change func(*interrexv1.ClaimRequest)) []proto.Message {
		m := claims("a/b")
		change(m)
		return []proto.Message{proposes("key", "mine"), m}
	}
	many := func(n int) (all []proto.Message) {
		for i := range n {
			all = append(all, proposes(fmt.Sprint("k", i), "x"))
		}
		return all
	}
	for name, test := range map[string]struct {
		all  []proto.Message
		kind error
		text string
	}{
		"nothing":          {nil, interrex.ErrInvalid, "1 to 64 are allowed, not 0"},
		"65":               {many(65), interrex.ErrInvalid, "1 to 64 are allowed, not 65"},
		"a read":           {[]proto.Message{&interrexv1.GetRequest{Key: "a/b"}}, interrex.ErrInvalid, "has no method that writes"},
		"no request":       {[]proto.Message{&interrexv1.Lease{}}, interrex.ErrInvalid, "has no method that writes"},
		"a group":          {[]proto.Message{&interrexv1.GroupRequest{}}, interrex.ErrInvalid, "operation 1: groups cannot be nested"},
		"an extend":        {[]proto.Message{claims("a/b"), &interrexv1.ExtendRequest{Key: "a/c", Token: 1}}, interrex.ErrInvalid, "operation 2: Extend cannot be part of a group"},
		"settings":         {[]proto.Message{&interrexv1.SetSettingsRequest{Values: map[string]string{"requests.window": "9"}}}, interrex.ErrInvalid, "operation 1: SetSettings cannot be part"},
		"a request id":     {with(func(m *interrexv1.ClaimRequest) { m.RequestId = "id" }), interrex.ErrInvalid, "operation 2: request_id: "},
		"an attempt":       {with(func(m *interrexv1.ClaimRequest) { m.Attempt = 1 }), interrex.ErrInvalid, "operation 2: request_id: "},
		"a fence":          {with(func(m *interrexv1.ClaimRequest) { m.Fence = &interrexv1.Fence{} }), interrex.ErrInvalid, "operation 2: fence: "},
		"no key":           {with(func(m *interrexv1.ClaimRequest) { m.Key = "" }), interrex.ErrInvalid, "operation 2: "},
		"no holder":        {with(func(m *interrexv1.ClaimRequest) { m.Holder = "" }), interrex.ErrInvalid, "operation 2: holder: "},
		"no command":       {[]proto.Message{claims("a/b"), &interrexv1.ProposeRequest{Table: 256, Data: []byte{9}}}, interrex.ErrInvalid, "operation 2: "},
		"an unknown table": {[]proto.Message{&interrexv1.ProposeRequest{Table: 300}}, interrex.ErrInvalid, "operation 1: "},
		"a claim, a pin":   {[]proto.Message{claims("a/b"), &interrexv1.PinRequest{Key: "a/b", Owner: "o"}}, interrex.ErrInvalid, "operation 2: "},
		"one key twice":    {[]proto.Message{claims("a/b"), claims("a/b")}, interrex.ErrInvalid, "operation 2: "},
		"what is not":      {[]proto.Message{claims("a/b"), &interrexv1.PinRequest{Key: "a/none", Owner: "o"}}, interrex.ErrNotFound, "operation 2: "},
		"too large":        {[]proto.Message{proposes("a", strings.Repeat("x", 600<<10)), proposes("b", strings.Repeat("x", 600<<10))}, interrex.ErrTooLarge, "bytes"},
		"too large an op":  {[]proto.Message{proposes("a", strings.Repeat("x", 512<<10)), proposes("b", strings.Repeat("x", 512<<10))}, interrex.ErrTooLarge, "bytes"},
	} {
		for _, by := range callers {
			_, err := client.Through(by).Group(t.Context(), test.all, client.Options{})
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v, want %v: %s", name, err, test.kind, test.text)
			}
		}
	}
	if after := revision(t, c.Agent(follower)); after != before {
		t.Errorf("the refusals took the state from revision %s to %s", before, after)
	}
	if _, err := client.Through(c.Agent(follower)).Group(t.Context(), many(64), client.Options{}); err != nil {
		t.Errorf("64: %v", err)
	}
	half := strings.Repeat("x", 512<<10-200)
	if _, err := client.Through(c.Agent(follower)).Group(t.Context(), []proto.Message{proposes("a", half), proposes("b", half)}, client.Options{}); err != nil {
		t.Errorf("as large as an operation may be: %v", err)
	}
}

func TestCurlSendsAGroup(t *testing.T) {
	c, follower := withRegister(t, nil)
	send := func(body string) (int, string) {
		t.Helper()
		hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := hc.Post("http://"+c.Agent(follower).Addrs()["api"]+"/interrex.v1.StateService/Group", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	const claim = `{"@type":"type.googleapis.com/interrex.v1.ClaimRequest","key":"a/b","holder":"ann"%s}`
	status, text := send(`{"operations":[` + fmt.Sprintf(claim, "") + `],"request_id":"mine"}`)
	var answer struct {
		Answers []struct {
			Type  string `json:"@type"`
			Lease struct{ Key, Holder, Token string }
		}
		Replayed *bool
		Revision string
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK || answer.Replayed == nil || *answer.Replayed {
		t.Fatalf("%d %s (%v)", status, text, err)
	}
	if a := answer.Answers; len(a) != 1 || a[0].Type != "type.googleapis.com/interrex.v1.ClaimResponse" || a[0].Lease.Key != "a/b" || a[0].Lease.Token != answer.Revision {
		t.Errorf("%+v", answer)
	}
	if status, text := send(`{"operations":[` + fmt.Sprintf(claim, "") + `],"request_id":"mine","attempt":1}`); status != http.StatusOK || !strings.Contains(text, `"replayed":true`) {
		t.Errorf("asked again: %d %s", status, text)
	}
	for body, want := range map[string]string{
		`{"operations":[` + fmt.Sprintf(claim, `,"holdr":"x"`) + `]}`:                        `operations[0].holdr: ClaimRequest has no such field`,
		`{"operations":[` + fmt.Sprintf(claim, `,"ttl":"soon"`) + `]}`:                       `operations[0].ttl: `,
		`{"operations":[` + fmt.Sprintf(claim, `,"wait":"5s"`) + `]}`:                        `operation 1: wait: not allowed in a group`,
		`{"operations":[{"key":"a/b"}]}`:                                                     `operations[0]: its type is missing`,
		`{"operations":[{"@type":"type.googleapis.com/interrex.v1.NoRequest","key":"a/b"}]}`: `operations[0].@type: `,
		`{"operations":[{"@type":"type.googleapis.com/interrex.v1.NoRequest","value":""}]}`:  `has no method that writes`,
		`{"operations":[{}]}`:  `operation 1: its type is missing`,
		`{"operations":["a"]}`: `operations[0]: `,
	} {
		if status, text := send(body); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %q", body, status, text, want)
		}
	}
}

// Groups go through a follower while their leaders go, some of them in the
// middle: each is there as a whole or not at all, and once.
func TestGroupsAreWholeWhileTheirLeaderGoes(t *testing.T) {
	c, follower := withRegister(t, nil)
	leader := c.Leader()
	by := c.Client(follower)
	var wait sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[string]error{}
	stop := make(chan struct{})
	for w := range 4 {
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%d-%d", w, i)
				a, err := client.Through(by).Group(t.Context(), []proto.Message{proposes(key, "one"), claims("group/" + key), proposes(key+"'", "two")}, client.Options{})
				if err == nil && len(a.Value) != 3 {
					err = fmt.Errorf("%d answers", len(a.Value))
				}
				mu.Lock()
				outcomes[key] = err
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(outcomes) }
	more := func(n int) {
		t.Helper()
		for end := time.Now().Add(time.Minute); count() < n; time.Sleep(5 * time.Millisecond) { // a poll
			if time.Now().After(end) {
				t.Fatalf("only %d groups in a minute", count())
			}
		}
	}
	more(20)
	c.Kill(leader)
	more(count() + 20)
	c.Restart(leader)
	more(count() + 20)
	close(stop)
	wait.Wait()
	reader := c.Agent(follower)
	page, err := reader.Leases().List(t.Context(), interrex.ListRequest{Namespace: "group"})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for {
		for _, l := range page.Items {
			there[l.Key.Name] = true
		}
		if page.NextPageToken == "" {
			break
		}
		if page, err = reader.Leases().List(t.Context(), interrex.ListRequest{Namespace: "group", PageToken: page.NextPageToken}); err != nil {
			t.Fatal(err)
		}
	}
	for key, err := range outcomes {
		if !there[key] && err == nil {
			t.Errorf("group %s was done, and is not there", key)
		}
		if err != nil && there[key] && !errors.Is(err, interrex.ErrOutcomeUnknown) {
			t.Errorf("group %s is there, and was answered %v", key, err)
		}
		for _, k := range []string{key, key + "'"} {
			_, err := client.Through(reader).Group(t.Context(), []proto.Message{&interrexv1.ProposeRequest{Table: uint32(testtable.RegisterTable), Data: testtable.Delete(k)}}, client.Options{})
			if found := err == nil; found != there[key] {
				t.Errorf("group %s: lease %v, %s %v (%v)", key, there[key], k, found, err)
			}
		}
	}
}
