package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/state"
)

// closedNode is an agent whose API needs tokens.
type closedNode struct {
	*node
	tokens *access.Table
	next   interrex.Revision
}

func closedAPI(t *testing.T) *closedNode {
	tokens := access.New()
	nd := cluster(t, 1, func(c *Config) { c.Tokens = &services.Tokens{Table: tokens} })[0]
	return &closedNode{node: nd, tokens: tokens}
}

// apply applies a command to the tokens, as the log would.
func (n *closedNode) apply(c state.Command) {
	n.t.Helper()
	own, err := n.tokens.Decode(c.Append(nil))
	n.must(err)
	n.must(n.tokens.Check(0, own))
	n.next++
	n.tokens.Apply(&state.Turn{Revision: n.next}, own)
}

// token makes a token with rules; without any it is an operator's.
func (n *closedNode) token(name string, rules ...string) (t accesstoken.Token, header string) {
	n.t.Helper()
	t = accesstoken.New()
	c := &access.Create{Hash: t.Hash(), Name: name, Operator: len(rules) == 0}
	for _, text := range rules {
		rule, err := interrex.ParseAccessRule(text)
		n.must(err)
		c.Rules = append(c.Rules, rule)
	}
	n.apply(c)
	return t, "Bearer " + t.String()
}

// dial returns a client that uses a token.
func (n *closedNode) dial(t accesstoken.Token) *client.Client {
	n.t.Helper()
	c, err := client.Dial(n.t.Context(), client.Config{Addresses: []string{n.url}, Token: t.String()})
	n.must(err)
	n.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (n *closedNode) put(key, by string) {
	n.t.Helper()
	n.expect(n.kv("PUT", "/kv/"+key, "v", "Authorization: "+by), 200, "")
}

// A watch, a list or a stream of events covers only what the rules allow, or is refused:
// it is not filtered.
func TestWhatARuleDoesNotAllowIsNeverSent(t *testing.T) {
	n := closedAPI(t)
	_, op := n.token("op")
	ann, by := n.token("ann", "resource:list,watch:interrex.Value/default/default/app/*", "change:watch,list:web/*", "lease:watch,list:web/*")
	n.put("app/1", op)
	n.put("other/1", op)
	keys := n.eventsOf(t.Context(), "/kv?prefix=app/", "Authorization", by)
	changes := n.eventsOf(t.Context(), "/changes?kind=*&prefix=web/", "Authorization", by)
	leases, err := n.dial(ann).Leases().Watch(t.Context(), interrex.WatchRequest{Namespace: "web"})
	n.must(err)
	defer leases.Close()
	for _, key := range []string{"other/2", "app/2"} {
		n.put(key, op)
	}
	for _, key := range []string{"db/1", "web/1"} {
		n.expect(n.kv("POST", "/interrex.v1.LeaseService/Claim", `{"key":"`+key+`","holder":"x"}`, "Authorization: "+op, "Content-Type: application/json"), 200, "")
	}
	for _, want := range []string{`"app/1"`, "revision", `"app/2"`} {
		if e := <-keys; !strings.Contains(e.data, want) || strings.Contains(e.data, "other") {
			t.Errorf("got %+v, want %s", e, want)
		}
	}
	if e := <-changes; e.kind != "lease.claimed" || !strings.Contains(e.data, `"key":"web/1"`) {
		t.Errorf("got %+v", e)
	}
	for {
		e, err := leases.Next(t.Context())
		n.must(err)
		if e.Lease.Key.Namespace == "web" {
			break
		}
		if e.Lease.Key.Name != "" {
			t.Errorf("got %+v", e)
		}
	}
}

func TestAWatchThatSpansMoreThanTheRulesIsRefused(t *testing.T) {
	n := closedAPI(t)
	ann, by := n.token("ann", "resource:list,watch:interrex.Value/default/default/app/*", "change:watch,list:web/*", "lease:watch,list:web/*")
	c := n.dial(ann)
	for path, rule := range map[string]string{
		"/kv?prefix=ap":                "resource:watch:interrex.Value/default/default/ap*",
		"/kv/app":                      "resource:watch:interrex.Value/default/default/app",
		"/kv?prefix=app/&namespace=ns": "resource:watch:interrex.Value/default/ns/app/*",
		"/changes":                     "change:watch:*",
		"/changes?prefix=we":           "change:watch:we*",
	} {
		n.expect(n.kv("GET", path, "", "Accept: text/event-stream", "Authorization: "+by), 403, "ann lacks the rule "+rule)
	}
	n.expect(n.kv("GET", "/kv?prefix=ap", "", "Authorization: "+by), 403, "ann lacks the rule resource:list:interrex.Value/default/default/ap*")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for what, watch := range map[string]func() error{
		"all leases": func() error { return first(ctx)(c.Leases().Watch(ctx, interrex.WatchRequest{})) },
		"a prefix":   func() error { return first(ctx)(c.Leases().Watch(ctx, interrex.WatchRequest{Namespace: "we"})) },
		"one lease": func() error {
			return first(ctx)(c.Leases().Watch(ctx, interrex.WatchRequest{Key: interrex.Key{Namespace: "db", Name: "1"}}))
		},
	} {
		if err := watch(); !errors.Is(err, interrex.ErrDenied) || !strings.Contains(err.Error(), "ann lacks the rule lease:watch:") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// first returns a function that returns the error of the first event of a watch.
func first(ctx context.Context) func(interrex.Watch[interrex.LeaseEvent], error) error {
	return func(w interrex.Watch[interrex.LeaseEvent], err error) error {
		if err == nil {
			defer w.Close()
			_, err = w.Next(ctx)
		}
		return err
	}
}

func TestARevocationEndsStreamsAndWatches(t *testing.T) {
	n := closedAPI(t)
	n.token("op")
	ann, by := n.token("ann", "*:*:*")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events := n.eventsOf(ctx, "/changes?kind=*", "Authorization", by)
	c := n.dial(ann)
	leases, err := c.Leases().Watch(ctx, interrex.WatchRequest{})
	n.must(err)
	defer leases.Close()
	if e, err := leases.Next(ctx); err != nil || e.Kind != interrex.EndOfSnapshot {
		t.Fatalf("%+v, %v", e, err)
	}
	n.apply(&access.Revoke{ID: ann.Hash().ID()})
	if e := <-events; e.kind != "unauthenticated" || !strings.Contains(e.data, "was revoked") {
		t.Errorf("the stream of events ends with %+v", e)
	}
	if _, err := leases.Next(ctx); !errors.Is(err, interrex.ErrUnauthenticated) {
		t.Errorf("the watch ends with %v", err)
	}
	if _, err := c.Leases().List(ctx, interrex.ListRequest{}); !errors.Is(err, interrex.ErrUnauthenticated) {
		t.Errorf("the stream of operations ends with %v", err)
	}
}

// What was sent and not answered may have been done: only the state knows.
func TestTheOutcomeIsUnknownOfWhatWasSentBeforeARevocation(t *testing.T) {
	n := closedAPI(t)
	ann, _ := n.token("ann", "*:*:*")
	c := n.dial(ann)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	key := interrex.Key{Namespace: "web", Name: "a"}
	_, err := c.Leases().Claim(ctx, interrex.ClaimRequest{Key: key, Holder: "bob", TTL: time.Minute})
	n.must(err)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Leases().Claim(ctx, interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Minute, Wait: time.Minute})
		ended <- err
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		l, _, err := c.Leases().Get(ctx, key, interrex.ReadOptions{})
		n.must(err)
		waits = l.Waiting != nil && *l.Waiting > 0
	}
	n.apply(&access.Revoke{ID: ann.Hash().ID()})
	if err := <-ended; !errors.Is(err, interrex.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("a claim that waits: %v", err)
	}
	_, err = c.Leases().Claim(ctx, interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Minute})
	if !errors.Is(err, interrex.ErrUnauthenticated) {
		t.Errorf("a claim of which nothing was sent: %v", err)
	}
}

func TestWhoMayReadALeaseMayReadItAsItWas(t *testing.T) {
	n := closedAPI(t)
	op, _ := n.token("op")
	ann, _ := n.token("ann", "lease:read:web/a")
	key := interrex.Key{Namespace: "web", Name: "a"}
	a, err := n.dial(op).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "bob", TTL: time.Minute})
	n.must(err)
	leases := n.dial(ann).Leases()
	page, err := leases.List(t.Context(), interrex.ListRequest{Key: key, AtRevision: a.Revision})
	if err != nil || len(page.Items) != 1 || page.Items[0].Token != a.Lease.Token || page.Revision != a.Revision {
		t.Errorf("%+v, %v", page, err)
	}
	for want, r := range map[interrex.Kind]interrex.ListRequest{
		interrex.ErrDenied:   {Key: interrex.Key{Namespace: "web", Name: "b"}, AtRevision: a.Revision},
		interrex.ErrNotFound: {Key: key, AtRevision: a.Revision - 1},
		interrex.ErrInvalid:  {Key: key, PageSize: 1},
	} {
		if _, err := leases.List(t.Context(), r); interrex.KindOf(err) != want {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := leases.List(t.Context(), interrex.ListRequest{Namespace: key.Namespace, Prefix: key.Name}); !errors.Is(err, interrex.ErrDenied) {
		t.Errorf("a list: %v", err)
	}
}

// Juju's secretaries: who may claim what, and for whom.
func TestARuleBindsTheHolderToTheCaller(t *testing.T) {
	n := closedAPI(t)
	ann, _ := n.token("ann", "lease:claim,transfer:web/*:own")
	c := n.dial(ann).Leases()
	key := interrex.Key{Namespace: "web", Name: "a"}
	if _, err := c.Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "bob", TTL: time.Minute}); !errors.Is(err, interrex.ErrDenied) || !strings.Contains(err.Error(), "only under its own name") {
		t.Errorf("a claim for another holder: %v", err)
	}
	a, err := c.Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Minute})
	n.must(err)
	if _, err := c.Transfer(t.Context(), interrex.TransferRequest{Key: key, Token: a.Lease.Token, To: "bob"}); !errors.Is(err, interrex.ErrDenied) {
		t.Errorf("a transfer to another holder: %v", err)
	}
	for _, body := range []string{
		`{"operations":[{"@type":"type.googleapis.com/interrex.v1.ClaimRequest","key":"web/b","holder":"ann"},{"@type":"type.googleapis.com/interrex.v1.ClaimRequest","key":"web/c","holder":"bob"}]}`,
	} {
		_, by := n.token("ann", "lease:claim:web/*:own")
		n.expect(n.kv("POST", "/interrex.v1.StateService/Group", body, "Authorization: "+by, "Content-Type: application/json"), 403, "operation 2")
	}
}

// The token of a lease is a number that others can read or guess: it makes nobody the
// holder.
func TestARuleBindsTheLeaseToTheCaller(t *testing.T) {
	n := closedAPI(t)
	op, _ := n.token("op")
	bob, err := n.dial(op).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "web", Name: "a"}, Holder: "bob", TTL: time.Minute})
	n.must(err)
	ann, by := n.token("ann", "lease:claim,extend,revoke,transfer,pin,unpin:web/*:own")
	own, err := n.dial(ann).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "web", Name: "b"}, Holder: "ann", TTL: time.Minute})
	n.must(err)
	its, hers := fmt.Sprintf(`{"key":"web/a","token":"%d"`, bob.Lease.Token), fmt.Sprintf(`{"key":"web/b","token":"%d"`, own.Lease.Token)
	for _, c := range []struct {
		method, body string
		status       int
		says         string
	}{
		{"LeaseService/Extend", its + "}", 403, "holds web/a"},
		{"LeaseService/Revoke", its + "}", 403, "holds web/a"},
		{"LeaseService/Transfer", its + `,"to":"ann"}`, 403, "holds web/a"},
		{"StateService/Group", `{"operations":[{"@type":"type.googleapis.com/interrex.v1.RevokeRequest",` + its[1:] + `}]}`, 403, "operation 1"},
		{"LeaseService/Pin", `{"key":"web/a","owner":"bob"}`, 403, "only under its own name"},
		{"LeaseService/Unpin", `{"key":"web/a","owner":"bob"}`, 403, "only under its own name"},
		{"LeaseService/Revoke", `{"key":"web/a","token":"1000000"}`, 503, "does not know who holds web/a under token 1000000"},
		{"LeaseService/Extend", hers + "}", 200, ""},
		{"LeaseService/Pin", `{"key":"web/b","owner":"ann"}`, 200, ""},
		{"LeaseService/Unpin", `{"key":"web/b","owner":"ann"}`, 200, ""},
		{"LeaseService/Transfer", hers + `,"to":"ann"}`, 200, ""},
		{"LeaseService/Revoke", hers + "}", 409, "not held"},
	} {
		n.expect(n.kv("POST", "/interrex.v1."+c.method, c.body, "Authorization: "+by, "Content-Type: application/json"), c.status, c.says)
	}
}

// What a fence or an owner says of others must be within the rules too, with any verb.
func TestARequestNamesOnlyWhatTheRulesSpeakOf(t *testing.T) {
	n := closedAPI(t)
	_, op := n.token("op")
	n.put("other/1", op)
	_, by := n.token("ann", "resource:write:interrex.Value/default/default/app/*", "lease:claim:web/*")
	write := func(more string) string {
		return `{"overwrite":true,"resource":{"id":{"type":{"group":"interrex","group_version":"v1","kind":"Value"},"name":"app/1"},
			"data":{"@type":"type.googleapis.com/interrex.v1.Value","text":"v"}` + more
	}
	owner := func(name string) string {
		return write(`,"owner":{"type":{"group":"interrex","group_version":"v1","kind":"Value"},"name":"` + name + `"}}}`)
	}
	for _, c := range []struct {
		body   string
		status int
		says   string
	}{
		{write(`},"fence":{"key":"db/a","token":"1"}}`), 403, "lease:read:db/a"},
		{write(`},"fence":{"key":"web/a","token":"1"}}`), 409, "not held"},
		{write(`,"owner_lease":{"key":"db/a","token":"1"}}}`), 403, "lease:read:db/a"},
		{write(`,"owner_lease":{"key":"web/a","token":"1"}}}`), 409, "not held"},
		{owner("other/1"), 403, "resource:read:interrex.Value/default/default/other/1"},
		{owner("app/none"), 400, "app/none does not exist"},
		{write("}}"), 200, ""},
	} {
		n.expect(n.kv("POST", "/interrex.v1.ResourceService/Write", c.body, "Authorization: "+by, "Content-Type: application/json"), c.status, c.says)
	}
}

func TestRecordsBelongToTheCallersName(t *testing.T) {
	n := closedAPI(t)
	for _, name := range []string{"ann", "bob"} {
		_, by := n.token(name, "lease:claim:*")
		claim := func() reply {
			return n.kv("POST", "/interrex.v1.LeaseService/Claim", `{"key":"web/`+name+`","holder":"x","request_id":"r"}`, "Authorization: "+by, "Content-Type: application/json")
		}
		n.expect(claim(), 200, `"replayed":false`)
		n.expect(claim(), 200, `"replayed":true`)
	}
}

// What an operator does without changing the state has no rule either.
func TestNoRuleAllowsWhatIsForOperators(t *testing.T) {
	n := closedAPI(t)
	_, op := n.token("op")
	_, all := n.token("ann", "*:*:*")
	for method, body := range map[string]string{
		"WebhookService/Test": `{"name":"x"}`, "WebhookService/Delete": `{"name":"x"}`,
		"StateService/SetSettings": `{"values":{"access.max-silence":"1h"}}`, "LeaseService/Revoke": `{"key":"a/b","force":true}`,
	} {
		n.expect(n.kv("POST", "/interrex.v1."+method, body, "Authorization: "+all, "Content-Type: application/json"), 403, "only an operator may ")
		if r := n.kv("POST", "/interrex.v1."+method, body, "Authorization: "+op, "Content-Type: application/json"); r.status == 403 {
			t.Errorf("%s by an operator: %s", method, r.body)
		}
	}
}

func TestAStrangerSeesOnlyWhetherTheAgentIsReady(t *testing.T) {
	n := closedAPI(t)
	_, op := n.token("op")
	_, ann := n.token("ann", "lease:*:*")
	n.engine.status.Alarms = []interrex.Alarm{{Name: "member-silent", Text: "gone"}}
	for _, c := range []struct {
		path, by string
		status   int
		alarm    bool
	}{
		{"/readyz?verbose", "", 200, false}, {"/readyz?verbose", ann, 200, false}, {"/readyz?verbose", op, 200, true},
		{"/livez", "", 200, false}, {"/leader", "", 200, false}, {"/metrics", "", 401, false}, {"/metrics", ann, 403, false}, {"/metrics", op, 200, false},
		{"/changes", "", 401, false}, {"/kv/a", "", 401, false}, {"//livez", "", 401, false}, {"/livez/../changes", "", 401, false},
		{"/changes?access_token=" + strings.TrimPrefix(op, "Bearer "), "", 401, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+c.path, nil)
		n.must(err)
		r.URL.Path, _, _ = strings.Cut(c.path, "?") // as it is
		r.Header.Set("Authorization", c.by)
		got := n.send(r)
		if got.status != c.status || strings.Contains(got.body, "member-silent") != c.alarm {
			t.Errorf("%s by %.12q: %d %s", c.path, c.by, got.status, got.body)
		}
	}
}

func TestARuleThatNothingMatchesIsRefused(t *testing.T) {
	n := closedAPI(t)
	_, op := n.token("op")
	create := func(table, verb, prefix string) reply {
		return n.kv("POST", "/interrex.v1.TokenService/Create", `{"name":"x","hash":"`+strings.Repeat("A", 42)+`E=","rules":[{"table":"`+table+`","verbs":["`+verb+`"],"prefix":"`+prefix+`"}]}`,
			"Authorization: "+op, "Content-Type: application/json")
	}
	n.expect(create("leases", "claim", "*"), 400, "there is no table leases: give agent, change, lease, ")
	n.expect(create("lease", "clam", "*"), 400, "lease has no verb clam: give claim, extend, ")
	n.expect(create("*", "clam", "*"), 400, "* has no verb clam: give ")
	n.expect(create("lease", "claim", "web"), 400, `\"web\" is not NAMESPACE/NAME: give default/web`)
	for _, rule := range []string{"lease:claim:default/web", "agent:read:*", "*:list,watch:*", "resource:*:interrex.Value/*"} {
		r, err := interrex.ParseAccessRule(rule)
		n.must(err)
		n.must(n.server.methods.CheckRule(r))
	}
}
