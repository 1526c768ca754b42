package apiserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"github.com/interrex/interrex/internal/wire"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestEveryMethodAnswersCurl(t *testing.T) {
	nd := cluster(t, 1)[0]
	claim := nd.curl("LeaseService/Claim", `{"key":"jobs/nightly","holder":"ann","ttl":"30s","metadata":{"address":"db1:80"}}`)
	if claim.status != 200 || claim.at("lease", "holder") != "ann" || claim.at("lease", "ttl") != "30s" {
		t.Fatalf("claim: %d %s", claim.status, claim.body)
	}
	token := claim.at("lease", "token").(string)
	if claim.at("revision") != token {
		t.Errorf("the token of a grant is not its revision: %s", claim.body)
	}
	for _, step := range []struct {
		method, body, want string
	}{
		{"Extend", `{"key":"jobs/nightly","token":"` + token + `","ttl":"40s"}`, `"key":"jobs/nightly"`},
		{"Pin", `{"key":"jobs/nightly","owner":"ops","reason":"upgrade"}`, `"owner":"ops"`},
		{"Get", `{"key":"jobs/nightly"}`, `"reason":"upgrade"`},
		{"Get", `{"key":"jobs/nightly","consistency":"CONSISTENCY_EVENTUAL","minRevision":"` + token + `"}`, `"reason":"upgrade"`},
		{"Unpin", `{"key":"jobs/nightly","owner":"ops"}`, `"pins":[]`},
		{"List", `{"namespace":"jobs"}`, `"next_page_token":""`},
		{"List", `{"namespace":"other"}`, `"items":[]`},
		{"Transfer", `{"key":"jobs/nightly","token":"` + token + `","to":"bob"}`, `"holder":"bob"`},
		{"Revoke", `{"key":"jobs/nightly","force":true}`, `"holder_until":"`},
		{"History", `{"key":"jobs/nightly"}`, `"how":"forced"`},
		{"History", `{"key":"never/held"}`, `"items":[]`},
	} {
		r := nd.curl("LeaseService/"+step.method, step.body)
		if r.status != 200 || !strings.Contains(compact(r.body), step.want) {
			t.Errorf("%s %s: %d %s, want %s in it", step.method, step.body, r.status, r.body, step.want)
		}
	}
}

// compact removes the spaces that protobuf's JSON adds at random.
func compact(s string) string {
	return strings.NewReplacer(`": `, `":`, `, "`, `,"`, `, {`, `,{`).Replace(s)
}

func TestEveryErrorHasItsKindAndStatus(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/held", "ann")
	for _, test := range []struct {
		name, method, body, kind string
		status                   int
	}{
		{"unknown field", "LeaseService/Claim", `{"key":"a/b","holder":"ann","tll":"3s"}`, "invalid", 400},
		{"malformed JSON", "LeaseService/Claim", `{"key":`, "invalid", 400},
		{"empty body", "LeaseService/Claim", ``, "invalid", 400},
		{"malformed key", "LeaseService/Claim", `{"key":"A/b","holder":"ann"}`, "invalid", 400},
		{"short ttl", "LeaseService/Claim", `{"key":"a/b","holder":"ann","ttl":"0.1s"}`, "invalid", 400},
		{"long wait", "LeaseService/Claim", `{"key":"a/b","holder":"ann","wait":"3601s"}`, "invalid", 400},
		{"no holder", "LeaseService/Claim", `{"key":"a/b"}`, "invalid", 400},
		{"too much metadata", "LeaseService/Claim", `{"key":"a/b","holder":"ann","metadata":{"m":"` + strings.Repeat("x", 4097) + `"}}`, "too large", 400},
		{"body of 5 MiB", "LeaseService/Claim", `{"key":"a/b","holder":"` + strings.Repeat("x", 5<<20) + `"}`, "too large", 400},
		{"held", "LeaseService/Claim", `{"key":"jobs/held","holder":"bob"}`, "held", 409},
		{"wrong token", "LeaseService/Extend", `{"key":"jobs/held","token":"99"}`, "not held", 409},
		{"fence", "LeaseService/Claim", `{"key":"a/b","holder":"bob","fence":{"key":"jobs/held","token":"99"}}`, "not held", 409},
		{"free name", "LeaseService/Get", `{"key":"a/free"}`, "not found", 404},
		{"pin of a free name", "LeaseService/Pin", `{"key":"a/free","owner":"ops"}`, "not found", 404},
		{"page too large", "LeaseService/List", `{"page_size":1001}`, "invalid", 400},
		{"page token", "LeaseService/List", `{"page_token":"?"}`, "invalid", 400},
		{"revision of the future", "LeaseService/Get", `{"key":"jobs/held","consistency":"CONSISTENCY_EVENTUAL","min_revision":"999999"}`, "invalid", 400},
		{"strong revision of the future", "LeaseService/Get", `{"key":"jobs/held","min_revision":"999999"}`, "invalid", 400},
		{"config elsewhere", "EngineService/Config", `{}`, "disabled", 501},
		{"reload elsewhere", "EngineService/Reload", `{}`, "disabled", 501},
		{"drain elsewhere", "EngineService/Drain", `{}`, "disabled", 501},
		{"unknown method", "LeaseService/Nope", `{}`, "not found", 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := nd.curl(test.method, test.body)
			if r.status != test.status || r.kind() != test.kind {
				t.Errorf("%d %v, want %d %s: %.300s", r.status, r.kind(), test.status, test.kind, r.body)
			}
			checkHeaders(t, r)
		})
	}
}

func checkHeaders(t *testing.T, r reply) {
	t.Helper()
	if r.header.Get(wire.HeaderLeader) != "a" || r.header.Get(HeaderTerm) == "" {
		t.Errorf("headers: %v", r.header)
	}
}

func TestUnknownFieldIsNamed(t *testing.T) {
	nd := cluster(t, 1)[0]
	if r := nd.curl("LeaseService/Claim", `{"tll":"3s"}`); !strings.Contains(r.body, `tll`) {
		t.Errorf("the field is not named: %s", r.body)
	}
}

func TestHeldSaysWhoHoldsIt(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/held", "ann")
	r := nd.curl("LeaseService/Claim", `{"key":"jobs/held","holder":"bob"}`)
	if r.at("details", 0, "debug", "holder") != "ann" || r.at("details", 0, "debug", "heldSince") == nil || r.at("details", 0, "debug", "remaining") == nil {
		t.Errorf("%s", r.body)
	}
}

func TestErrorsOutsideTheServicesAreJSON(t *testing.T) {
	nd := cluster(t, 1)[0]
	if r := nd.get(nd.url + "/nowhere"); r.status != 404 || r.kind() != "not found" {
		t.Errorf("nowhere: %d %s", r.status, r.body)
	}
	if r := nd.get(nd.url + "/interrex.v1.LeaseService/Clam"); r.status != 404 || !strings.Contains(string(r.body), "did you mean /interrex.v1.LeaseService/Claim?") {
		t.Errorf("nearly a method: %d %s", r.status, r.body)
	}
	if r := nd.get(nd.url + "/interrex.v1.LeaseService/Claim"); r.status != 405 || r.kind() != "invalid" {
		t.Errorf("GET of a method: %d %s", r.status, r.body)
	}
	if r := nd.post(nd.url+"/interrex.v1.LeaseService/Claim", "text/plain", []byte("{}")); r.status != 415 || r.kind() != "invalid" {
		t.Errorf("text/plain: %d %s", r.status, r.body)
	}
}

func TestDeadlineBeforeTheMethodIsTimeout(t *testing.T) {
	nd := cluster(t, 1)[0]
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, nd.url+"/interrex.v1.LeaseService/Claim", strings.NewReader(`{"key":"a/b","holder":"ann"}`))
	nd.must(err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Connect-Timeout-Ms", "0")
	if r := nd.send(r); r.status != 504 || r.kind() != "timeout" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if _, held := nd.leases.Get(parse("a/b")); held {
		t.Error("what was answered timeout has happened")
	}
}

func TestLeaseLooksAsItIsWritten(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/golden", "ann")
	nd.curl("LeaseService/Pin", `{"key":"jobs/golden","owner":"ops","reason":"upgrade","for":"3600s"}`)
	pinned := nd.curl("LeaseService/Get", `{"key":"jobs/golden"}`)
	nd.curl("LeaseService/Unpin", `{"key":"jobs/golden","owner":"ops"}`)
	plain := nd.curl("LeaseService/Get", `{"key":"jobs/golden"}`)
	got := normal(pinned.body) + "\n" + normal(plain.body) + "\n"
	want, err := os.ReadFile("testdata/lease.golden")
	nd.must(err)
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// normal replaces what differs from run to run.
func normal(s string) string {
	s = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`).ReplaceAllString(compact(s), `"TIME"`)
	s = regexp.MustCompile(`"(remaining)":"[0-9.]+s"`).ReplaceAllString(s, `"$1":"DURATION"`)
	return s
}

func TestListGoesPageByPage(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range 25 {
		nd.claimed(fmt.Sprintf("pages/%02d", i), "ann")
	}
	var keys []string
	token := ""
	for pages := 1; ; pages++ {
		r := nd.curl("LeaseService/List", `{"namespace":"pages","page_size":10,"page_token":"`+token+`"}`)
		items, _ := r.at("items").([]any)
		for i := range items {
			keys = append(keys, r.at("items", i, "key").(string))
		}
		if token, _ = r.at("next_page_token").(string); token == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	for i, k := range keys {
		if k != fmt.Sprintf("pages/%02d", i) {
			t.Errorf("%d: %s", i, k)
		}
	}
	if len(keys) != 25 {
		t.Errorf("%d of 25 leases", len(keys))
	}
}

func TestUnaryClaimWaitsForItsTurn(t *testing.T) {
	nd := cluster(t, 1)[0]
	token := nd.claimed("jobs/busy", "ann")
	answered := make(chan reply, 1)
	go func() {
		answered <- nd.curl("LeaseService/Claim", `{"key":"jobs/busy","holder":"bob","wait":"20s"}`)
	}()
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 1 })
	if r := nd.curl("LeaseService/Get", `{"key":"jobs/busy"}`); r.at("lease", "waiting") != 1.0 {
		t.Errorf("the leader does not say who waits: %s", r.body)
	}
	if r := nd.curl("LeaseService/Revoke", fmt.Sprintf(`{"key":"jobs/busy","token":"%d"}`, token)); r.status != 200 {
		t.Fatalf("%s", r.body)
	}
	if r := <-answered; r.status != 200 || r.at("lease", "holder") != "bob" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestUnaryClaimLeavesTheLineWithItsCall(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/busy", "ann")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, nd.url+"/interrex.v1.LeaseService/Claim",
		strings.NewReader(`{"key":"jobs/busy","holder":"bob","wait":"3600s"}`))
	nd.must(err)
	r.Header.Set("Content-Type", "application/json")
	gone := make(chan error, 1)
	go func() {
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err == nil {
			_ = answer.Body.Close()
		}
		gone <- err
	}()
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 1 })
	cancel()
	if err := <-gone; err == nil {
		t.Error("the call was answered")
	}
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 0 })
}

// waitFor waits until a condition holds, and fails after a while.
func (nd *node) waitFor(is func() bool) {
	nd.t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			nd.t.Fatal("it did not happen")
		}
	}
}

// The messages of a watch in JSON show the events themselves, under the
// field's name.
func TestAWatchInJSONShowsItsEvents(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("jobs/one", "ann")
	nd.claimed("jobs/two", "bob")
	body := []byte(`{"since":"0","namespace":"jobs"}`)
	envelope := append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, nd.url+"/interrex.v1.LeaseService/Watch", bytes.NewReader(envelope))
	nd.must(err)
	r.Header.Set("Content-Type", "application/connect+json")
	answer, err := nd.http.Do(r)
	nd.must(err)
	defer func() { _ = answer.Body.Close() }()
	head := make([]byte, 5)
	_, err = io.ReadFull(answer.Body, head)
	nd.must(err)
	text := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err = io.ReadFull(answer.Body, text)
	nd.must(err)
	var m struct {
		Events []struct {
			Kind, Revision string
			Lease          struct{ Key, Holder string }
		}
	}
	if err := json.Unmarshal(text, &m); err != nil || len(m.Events) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	if e := m.Events[1]; e.Kind != "lease.present" || e.Lease.Key != "jobs/two" || e.Lease.Holder != "bob" {
		t.Errorf("%+v", e)
	}
	if e := m.Events[2]; e.Kind != "end_of_snapshot" || e.Revision != "2" {
		t.Errorf("%+v", e)
	}
}
