package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/juju/clock"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// withHooks lets a node's server call webhooks.
func withHooks(t testing.TB) func(*Config) {
	return func(c *Config) {
		caller, err := hookcaller.New(hookcaller.Config{Agent: c.ID, Clock: clock.WallClock, Logger: silent.Logger{}, Metrics: hookcaller.NewMetrics()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(caller.Close)
		c.Webhooks.Ask = func(hooks []*webhook.Hook, q hookcaller.Question) (func(context.Context) error, error) {
			call, err := caller.Ask(hooks, q)
			if err != nil {
				return nil, err
			}
			return call.Wait, nil
		}
		c.Webhooks.Test = caller.Test
	}
}

// guard is a hook's server that answers with answer, and counts calls.
type guard struct {
	url    string
	asked  atomic.Int64
	mu     sync.Mutex
	bodies []string
}

func (g *guard) body(i int) (q hookcaller.Question) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = json.Unmarshal([]byte(g.bodies[i]), &q)
	return q
}

func newGuard(t testing.TB, answer func(q hookcaller.Question) int) *guard {
	t.Helper()
	g := &guard{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q hookcaller.Question
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		b, _ := json.Marshal(q)
		g.mu.Lock()
		g.bodies = append(g.bodies, string(b))
		g.mu.Unlock()
		g.asked.Add(1)
		status := answer(q)
		w.WriteHeader(status)
		if status != 200 {
			fmt.Fprintf(w, "no %s of %s", q.Operations[0].Kind, q.Operations[0].Key)
		}
	}))
	t.Cleanup(s.Close)
	g.url = s.URL
	return g
}

// holds makes a guard's answer wait until it is released.
func holds(t testing.TB) (wait func(), release func()) {
	over := make(chan struct{})
	release = sync.OnceFunc(func() { close(over) })
	t.Cleanup(release)
	return func() { <-over }, release
}

func (nd *node) setHook(name, url, more string) {
	nd.t.Helper()
	if r := nd.curl("WebhookService/Set", fmt.Sprintf(`{"webhook":{"name":%q,"url":%q,"timeout":"30s"%s}}`, name, url, more)); r.status != 200 {
		nd.t.Fatalf("%d %s", r.status, r.body)
	}
}

func TestAHookVetoesWhatItIsFor(t *testing.T) {
	l, f := follower(t, cluster(t, 3, withHooks(t)))
	g := newGuard(t, func(q hookcaller.Question) int {
		if strings.HasSuffix(q.Operations[0].Key, "bad") {
			return 403
		}
		return 200
	})
	f.setHook("guard", g.url, `,"kinds":["lease.claimed","lease.forced"],"prefixes":["prod/"]`)
	if r := f.curl("LeaseService/Claim", `{"key":"prod/bad","holder":"ann","request_id":"r1"}`); r.status != 403 || r.kind() != "vetoed" || !strings.Contains(r.body, "webhook guard: it responded with 403: no lease.claimed of prod/bad") {
		t.Errorf("%d %s", r.status, r.body)
	}
	q := g.body(0)
	if op := q.Operations[0]; q.RequestID != "r1" || op.Method != "interrex.v1.LeaseService/Claim" || !strings.Contains(string(op.Request), `"holder":"ann"`) || !strings.Contains(string(op.Request), `"request_id":""`) {
		t.Errorf("the question was %+v", q)
	}
	if r := f.curl("LeaseService/Get", `{"key":"prod/bad"}`); r.status != 404 {
		t.Errorf("a vetoed claim has happened: %s", r.body)
	}
	granted := f.curl("LeaseService/Claim", `{"key":"prod/good","holder":"ann"}`)
	if granted.status != 200 || g.asked.Load() != 2 {
		t.Fatalf("%d %s, asked %d times", granted.status, granted.body, g.asked.Load())
	}
	token := granted.at("lease", "token")
	fenced := fmt.Sprintf(`{"key":"prod/bad","holder":"ann","fence":{"key":"prod/good","token":%q},"attempt":3,"request_id":"r2","wait":"2s"}`, token)
	if r := l.curl("LeaseService/Claim", fenced); r.kind() != "vetoed" {
		t.Errorf("a fenced claim: %d %s", r.status, r.body)
	}
	q = g.body(2)
	if q.Fence == nil || q.Fence.Key != "prod/good" || q.Fence.Token.String() != token || q.Attempt != 3 {
		t.Errorf("the question about a fenced claim was %+v", q)
	}
	if text := string(q.Operations[0].Request); strings.Contains(text, "prod/good") || strings.Contains(text, "r2") {
		t.Errorf("the request says again what stands beside it: %s", text)
	}
	for method, body := range map[string]string{
		"LeaseService/Extend": fmt.Sprintf(`{"key":"prod/good","token":%q}`, token),
		"LeaseService/Pin":    `{"key":"prod/good","owner":"o"}`,
		"LeaseService/Claim":  `{"key":"test/bad","holder":"ann"}`,
	} {
		if r := f.curl(method, body); r.status != 200 {
			t.Errorf("%s: %d %s", method, r.status, r.body)
		}
	}
	if n := g.asked.Load(); n != 3 {
		t.Errorf("the hook was asked %d times, about what it is not for", n)
	}
	if r := f.curl("LeaseService/Claim", `{"key":"prod/bad","holder":"ann","takeover":true}`); r.kind() != "vetoed" {
		t.Errorf("a takeover passes by: %s", r.body)
	}
}

// Everything else continues while a hook hangs: other operations of the same stream,
// and extends of the same lease.
func TestAHookThatHangsHoldsUpWhatItIsForAlone(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	wait, release := holds(t)
	g := newGuard(t, func(hookcaller.Question) int { wait(); return 200 })
	nd.curl("LeaseService/Claim", `{"key":"slow/held","holder":"ann"}`)
	nd.setHook("guard", g.url, `,"prefixes":["slow/"]`)
	s := nd.stream(t.Context(), nd.url)
	s.send(
		op(1, interrexv1.LeaseServicePinProcedure, &interrexv1.PinRequest{Key: "slow/held", Owner: "o"}),
		op(2, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "fast/a", Holder: "ann"}),
	)
	nd.waitFor(func() bool { return g.asked.Load() == 1 })
	if got := s.answers(1); got[2] == nil || got[2].GetError() != nil {
		t.Fatalf("the first answer is %v", got)
	}
	token := uint64(nd.leasesToken("slow/held"))
	s.send(op(3, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "slow/held", Token: token}))
	if got := s.answers(1); got[3] == nil || got[3].GetError() != nil {
		t.Errorf("the extend is answered %v", got)
	}
	release()
	if got := s.answers(1); got[1] == nil || got[1].GetError() != nil {
		t.Errorf("the pin is answered %v", got)
	}
}

func (nd *node) leasesToken(key string) interrex.Token {
	nd.t.Helper()
	k, err := interrex.ParseKey(key)
	nd.must(err)
	r, held := nd.leases.Get(k)
	if !held {
		nd.t.Fatalf("%s is not held", key)
	}
	return r.Token
}

// A request that was done is answered from its record, regardless of the hook.
func TestARepeatedRequestIsAnsweredFromItsRecord(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	var no atomic.Bool
	g := newGuard(t, func(hookcaller.Question) int {
		if no.Load() {
			return 403
		}
		return 200
	})
	nd.setHook("guard", g.url, "")
	first := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann","request_id":"mine"}`)
	no.Store(true)
	again := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann","request_id":"mine","attempt":1}`)
	if again.status != 200 || again.at("replayed") != true || again.at("lease", "token") != first.at("lease", "token") || g.asked.Load() != 1 {
		t.Errorf("%d %s, asked %d times", again.status, again.body, g.asked.Load())
	}
}

// A later attempt may be vetoed while an earlier one is about to enter the log: the
// answer must not be "vetoed", which is final.
func TestNothingIsVetoedWhileAnEarlierAttemptIsInside(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	wait, release := holds(t)
	g := newGuard(t, func(q hookcaller.Question) int {
		if q.Attempt == 0 {
			wait()
			return 200
		}
		return 403
	})
	nd.setHook("guard", g.url, "")
	first := make(chan reply)
	go func() { first <- nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann","request_id":"mine"}`) }()
	nd.waitFor(func() bool { return g.asked.Load() == 1 })
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann","request_id":"mine","attempt":1}`); r.kind() != "outcome unknown" || !strings.Contains(r.body, "an earlier attempt is not answered yet") {
		t.Errorf("the second attempt: %d %s", r.status, r.body)
	}
	release()
	if r := <-first; r.status != 200 {
		t.Errorf("the first attempt: %d %s", r.status, r.body)
	}
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann","request_id":"mine","attempt":2}`); r.status != 200 || r.at("replayed") != true {
		t.Errorf("the third attempt: %d %s", r.status, r.body)
	}
	if n := reflect.ValueOf(nd.server.config.Visitors).Elem().FieldByName("all").Len(); n != 0 {
		t.Errorf("%d requests are inside still", n)
	}
}

// An earlier attempt may be done between the call of the hook and its verdict: then
// the record decides.
func TestAVetoAfterAnEarlierAttemptIsDoneIsItsAnswer(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	wait, release := holds(t)
	g := newGuard(t, func(hookcaller.Question) int { wait(); return 403 })
	nd.setHook("guard", g.url, "")
	later := make(chan reply)
	go func() {
		later <- nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann","request_id":"mine","attempt":1}`)
	}()
	nd.waitFor(func() bool { return g.asked.Load() == 1 })
	// As if another leader had appended it: without this one's API.
	early, err := nd.pastTheDoor(`{"key":"a/b","holder":"ann"}`, "mine")
	nd.must(err)
	release()
	if r := <-later; r.status != 200 || r.at("replayed") != true || r.at("lease", "token") != fmt.Sprint(uint64(early)) {
		t.Errorf("%d %s, want the grant %d", r.status, r.body, early)
	}
}

// The hook is called when a waiting claim arrives, and not again while the claim
// waits, nor when it is granted.
func TestAWaitingClaimIsAskedAboutOnce(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	g := newGuard(t, func(q hookcaller.Question) int {
		if strings.Contains(string(q.Operations[0].Request), "eve") {
			return 403
		}
		return 200
	})
	nd.setHook("guard", g.url, "")
	nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann"}`)
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"eve","wait":"30s"}`); r.kind() != "vetoed" {
		t.Errorf("a waiting claim passes by: %s", r.body)
	}
	s := nd.stream(t.Context(), nd.url)
	for attempt := range uint32(3) {
		o := waitOp(uint64(attempt)+1, "a/b", "bob", 30*time.Second)
		o.RequestId, o.Attempt, o.AsksAgain = "bobs", attempt, true
		s.send(o)
		if attempt > 0 {
			s.answers(1) // the one before is answered that it was asked again
		}
		k, _ := interrex.ParseKey("a/b")
		nd.waitFor(func() bool { return nd.applier.Waiting(k) == 1 })
	}
	other := op(9, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "bob", Metadata: map[string]string{"for": "eve"}})
	other.WaitMs = 30_000
	other.RequestId, other.Attempt, other.AsksAgain = "bobs", 4, true
	s.send(other)
	if got := s.answers(1); got[9].GetError().GetKind() != "outcome unknown" {
		t.Errorf("another claim under the same id: %v", got)
	}
	nd.curl("LeaseService/Revoke", fmt.Sprintf(`{"key":"a/b","token":"%d"}`, nd.leasesToken("a/b")))
	if got := s.answers(1); got[3] == nil || got[3].GetError() != nil {
		t.Errorf("the waiting claim is answered %v", got)
	}
	kinds := map[string]int{}
	for i := range int(g.asked.Load()) {
		q := g.body(i)
		kinds[q.Operations[0].Kind+" "+q.RequestID]++
	}
	if kinds["lease.claimed bobs"] != 2 { // bob's first, and eve's under his id
		t.Errorf("the hook was asked about %v", kinds)
	}
}

func TestACallerThatGoesDoesNotHoldItsHooksVerdict(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	wait, release := holds(t)
	g := newGuard(t, func(hookcaller.Question) int { wait(); return 200 })
	nd.setHook("guard", g.url, "")
	s := nd.stream(t.Context(), nd.url)
	o := op(1, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"})
	o.TimeoutMs = 50
	s.send(o)
	if got := s.answers(1); got[1].GetError().GetKind() != "timeout" {
		t.Errorf("it is answered %v", got)
	}
	release()
	if r := nd.curl("LeaseService/Get", `{"key":"a/b"}`); r.status != 404 {
		t.Errorf("it has happened: %s", r.body)
	}
}

func TestHooksThatAreOffAnswerByTheirPolicy(t *testing.T) {
	nd := cluster(t, 1)[0] // without Ask
	nd.setHook("allow", "http://127.0.0.1:1/", `,"on_failure":"allow"`)
	if r := nd.curl("LeaseService/Claim", `{"key":"a/b","holder":"ann"}`); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	nd.setHook("refuse", "http://127.0.0.1:1/", "")
	if r := nd.curl("LeaseService/Claim", `{"key":"a/c","holder":"ann"}`); r.kind() != "vetoed" || !strings.Contains(r.body, "webhooks are off") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := nd.curl("WebhookService/Delete", `{"name":"refuse"}`); r.status != 200 {
		t.Errorf("a hook stands in the way of its own delete: %s", r.body)
	}
}

func TestTooManyCallsAreOverloaded(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	wait, release := holds(t)
	g := newGuard(t, func(hookcaller.Question) int { wait(); return 200 })
	nd.setHook("guard", g.url, "")
	s := nd.stream(t.Context(), nd.url)
	for id := range uint64(hookcaller.MaxHookCalls) {
		s.send(op(id+1, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: fmt.Sprint("a/", id), Holder: "ann"}))
	}
	nd.waitFor(func() bool { return g.asked.Load() == hookcaller.MaxHookCalls })
	s.send(op(100, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/more", Holder: "ann"}))
	got := s.answers(1)
	if e := got[100].GetError(); e.GetKind() != "overloaded" || e.GetRetryAfter().AsDuration() == 0 {
		t.Errorf("one more: %v", got)
	}
	release()
	s.answers(hookcaller.MaxHookCalls)
}

func TestWhatAHookLacksIsNamed(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	for body, want := range map[string]string{
		`{}`:                               "name: ",
		`{"name":"a"}`:                     "url: it must be http://HOST/PATH or https://HOST/PATH",
		`{"url":"http://:80/","name":"a"}`: "url: it cannot be parsed",
	} {
		if r := nd.curl("WebhookService/Set", `{"webhook":`+body+`}`); r.status != 400 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
}

func TestASecretIsShownOnce(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	set := `{"webhook":{"name":"a","url":"http://127.0.0.1:1/","headers":{"Authorization":"hidden"}},"request_id":"r"%s}`
	first := nd.curl("WebhookService/Set", fmt.Sprintf(set, ""))
	secret, _ := first.at("secret").(string)
	if first.status != 200 || !strings.HasPrefix(secret, webhook.SecretPrefix) || strings.Contains(first.body, "hidden") {
		t.Fatalf("%d %s", first.status, first.body)
	}
	if again := nd.curl("WebhookService/Set", fmt.Sprintf(set, `,"attempt":1`)); again.at("secret") != secret || again.at("replayed") != true {
		t.Errorf("a repeated attempt: %s", again.body)
	}
	for method, body := range map[string]string{
		"WebhookService/Get": `{"name":"a"}`, "WebhookService/List": `{}`, "WebhookService/Test": `{"name":"a"}`,
		"WebhookService/Set": `{"webhook":{"name":"a","url":"http://127.0.0.1:1/"},"request_id":"other"}`,
	} {
		if r := nd.curl(method, body); r.status != 200 || strings.Contains(r.body, secret) || strings.Contains(r.body, "hidden") {
			t.Errorf("%s: %d %s", method, r.status, r.body)
		}
	}
	cursor, err := nd.ring.Cursor(1, interest.Scope{})
	nd.must(err)
	defer cursor.Close()
	events, _, err := cursor.Read()
	nd.must(err)
	for i := range events.Len() {
		data, err := nd.server.Data(events.Event(i))
		if err != nil || strings.Contains(string(data), secret) || strings.Contains(string(data), "hidden") {
			t.Errorf("the event is %s (%v)", data, err)
		}
	}
}

func TestTestSaysWhatAHookAnswers(t *testing.T) {
	_, f := follower(t, cluster(t, 3, withHooks(t)))
	g := newGuard(t, func(q hookcaller.Question) int { return 201 })
	f.setHook("guard", g.url, "")
	if r := f.curl("WebhookService/Test", `{"name":"guard"}`); r.status != 200 || r.at("status") != 201.0 || r.at("agent") != f.id || !strings.Contains(r.body, "no lease.claimed of default/sample") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.curl("WebhookService/Test", `{"name":"other"}`); r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
	s := f.stream(t.Context(), f.url)
	s.send(op(1, interrexv1.WebhookServiceTestProcedure, &interrexv1.WebhookServiceTestRequest{Name: "guard"}))
	got := s.answers(1)[1]
	var m interrexv1.WebhookServiceTestResponse
	if err := proto.Unmarshal(got.GetBody(), &m); err != nil || got.GetError() != nil || m.GetStatus() != 201 {
		t.Errorf("on a stream: %v, %v", got, err)
	}
}

// pastTheDoor appends a claim to the log without the API's server.
func (nd *node) pastTheDoor(body, id string) (interrex.Token, error) {
	nd.t.Helper()
	var q interrexv1.ClaimRequest
	nd.must(protojson.Unmarshal([]byte(body), &q))
	c := &lease.Claim{Key: parse(q.GetKey()), Holder: q.GetHolder(), TTL: interrex.DefaultTTL}
	done := make(chan state.Result, 1)
	nd.queue.Enqueue(nd.t.Context(), &queue.Operation{
		Operation: state.Operation{Table: machine.LeaseTable, RequestID: id, Data: c.Append(nil)}, Command: c,
		Done: func(r state.Result) { done <- r },
	})
	r := <-done
	return interrex.Token(r.Revision), r.Err
}

func TestAURLWithoutAUsablePortIsRefused(t *testing.T) {
	nd := cluster(t, 1, withHooks(t))[0]
	for port, status := range map[string]int{"0": 400, "65536": 400, "99999999999999999999": 400, "65535": 200} {
		if r := nd.curl("WebhookService/Set", `{"webhook":{"name":"a","url":"http://a:`+port+`/"}}`); r.status != status || status == 400 && !strings.Contains(r.body, "the port must be 1 to 65535, not "+port) {
			t.Errorf("%s: %d %s", port, r.status, r.body)
		}
	}
}
