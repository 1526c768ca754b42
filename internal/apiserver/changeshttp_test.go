package apiserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/plainhttp"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// plain makes a request of plain HTTP with headers, NAME and value in turn.
func (nd *node) plain(method, path, body string, headers ...string) reply {
	nd.t.Helper()
	r, err := http.NewRequestWithContext(nd.t.Context(), method, nd.url+path, strings.NewReader(body))
	nd.must(err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return nd.send(r)
}

// appended appends a change and returns its revision.
func (nd *node) appended(body string, headers ...string) uint64 {
	nd.t.Helper()
	r := nd.plain(http.MethodPost, "/changes", body, headers...)
	id, is := r.at("_id").(float64)
	if r.status != http.StatusOK || !is || r.header.Get(plainhttp.HeaderRevision) != fmt.Sprint(id) {
		nd.t.Fatalf("POST /changes %s: %d %s, %v", body, r.status, r.body, r.header)
	}
	return uint64(id)
}

func TestChangesInPlainHTTPHaveTheirShape(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	first := f.appended(`{"data":{"n":9007199254740993},"tags":["a","b"]}`)
	token := l.claimed("jobs/a", "ann")
	last := f.appended(`[1,  2.50]`)

	r := l.plain(http.MethodGet, "/changes", "")
	stamp := strings.Split(strings.Split(r.body, `"_ts":`)[1], ",")[0]
	if n := len(stamp); n != 19 || strings.ContainsAny(stamp, `".e`) {
		t.Errorf("_ts is %s, want nanoseconds as a number", stamp)
	}
	want := fmt.Sprintf(`{"changes":[{"_id":%d,"_ts":T,"tags":["a","b"],"data":{"n":9007199254740993}},{"_id":%d,"_ts":T,"tags":[],"data":[1,2.50]}],"atStart":true,"atEnd":true,"first":%d,"last":%d}`, first, last, first, last)
	if got := withoutTimes(r.body); got != want || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, c := range []struct {
		query string
		ids   string
		start bool
		end   bool
	}{
		{"?kind=*", fmt.Sprint(first, token, last), true, true},
		{"?kind=lease.claimed", fmt.Sprint(token), true, true},
		{"?kind=lease.claimed,user", fmt.Sprint(first, token, last), true, true},
		{"?kind=lease.claimed&kind=user", fmt.Sprint(first, token, last), true, true},
		{"?kind=*&prefix=jobs/", fmt.Sprint(token), true, true},
		{"?tag=b", fmt.Sprint(first), true, true},
		{"?tag=x&tag=a", fmt.Sprint(first), true, true},
		{"?tag=a,b", "", true, true}, // a tag may have a comma
		{"?limit=1", fmt.Sprint(first), true, false},
		{fmt.Sprintf("?since=%d", first), fmt.Sprint(last), false, true},
		{fmt.Sprintf("?since=%d", last), "", false, true},
		{fmt.Sprintf("?since=%d&block=0.05", last), "", false, true},
		{fmt.Sprintf("?since=%d&block=50ms", last), "", false, true},
	} {
		r := l.plain(http.MethodGet, "/changes"+c.query, "")
		var ids []any
		for i := 0; r.at("changes", i) != nil; i++ {
			ids = append(ids, r.at("changes", i, "_id"))
		}
		if got := fmt.Sprint(ids...); r.status != http.StatusOK || got != c.ids || r.at("atStart") != c.start || r.at("atEnd") != c.end {
			t.Errorf("%s: %d %s", c.query, r.status, r.body)
		}
		if r.at("first") != float64(first) || r.at("last") != float64(last) || r.header.Get(plainhttp.HeaderRevision) != fmt.Sprint(last) {
			t.Errorf("%s: %s, %v", c.query, r.body, r.header)
		}
	}
	one := l.plain(http.MethodGet, fmt.Sprint("/changes/", token), "")
	if one.at("kind") != interrex.LeaseClaimed || one.at("key") != "jobs/a" || one.at("data", "holder") != "ann" || one.at("_id") != float64(token) {
		t.Errorf("%s", one.body)
	}
	if none := l.plain(http.MethodGet, "/changes/99999", ""); none.status != http.StatusNotFound || none.at("error") != "not found: there is no change 99999" {
		t.Errorf("%d %s", none.status, none.body)
	}
}

// withoutTimes replaces every _ts by T.
func withoutTimes(body string) string {
	parts := strings.Split(strings.TrimSpace(body), `"_ts":`)
	for i := range parts[1:] {
		_, rest, _ := strings.Cut(parts[i+1], ",")
		parts[i+1] = "T," + rest
	}
	return strings.Join(parts, `"_ts":`)
}

func TestALongPollOfPlainHTTPEndsWithTheFirstThatMatches(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	since := l.appended(`0`)
	f.waitFor(func() bool { return uint64(f.state.Revision()) >= since })
	for _, block := range []string{"300", "5m"} {
		got := make(chan reply, 1)
		go func() {
			got <- f.plain(http.MethodGet, fmt.Sprintf("/changes?since=%d&tag=mine&block=%s", since, block), "")
		}()
		l.appended(`{"data":1,"tags":["other"]}`)
		mine := l.appended(`{"data":2,"tags":["mine"]}`)
		if r := <-got; r.at("changes", 0, "_id") != float64(mine) || r.at("changes", 1) != nil {
			t.Errorf("block=%s: %s", block, r.body)
		}
		since = mine
	}
}

func TestWhatIsWrongInPlainHTTPIsSaid(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.appended(`1`)
	for _, c := range []struct{ path, want string }{
		{"?since=-1", `?since: "-1" is not a number from 0 to 18446744073709551615`},
		{"?since=x", `?since: "x" is not a number`},
		{"?limit=1.5", `?limit: "1.5" is not a number from 0 to 4294967295`},
		{"?limit=1001", `limit: at most 1000 is allowed, not 1001`},
		{"?block=soon", `?block: "soon" is neither seconds nor a duration such as 30s`},
		{"?block=-1", `?block: "-1" is neither seconds nor a duration such as 30s`},
		{"?block=601", `block: at most 10 min is allowed, not 10m1s`},
		{"?kind=lease.gone", `kinds: "lease.gone" is not one of lease.claimed, lease.taken_over, `},
		{"?prefix=" + strings.Repeat("x", 1025), `prefix: at most 1024 bytes are allowed, not 1025`},
		{"?tag=" + strings.Repeat("x&tag=", 64), `at most 64 of each are allowed, not 65 and 1`},
		{"?from=7", `?from: unknown parameter: this path takes since, limit, block, tag, kind, prefix`},
		{"/x", `change "x": its id must be a number`},
	} {
		r := nd.plain(http.MethodGet, "/changes"+c.path, "")
		if text, _ := r.at("error").(string); r.status != http.StatusBadRequest || !strings.HasPrefix(text, "invalid: ") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %s", c.path, r.status, r.body, c.want)
		}
	}
	for _, c := range []struct {
		body, want string
		headers    []string
	}{
		{`{"data":1,"user":2}`, `"user": besides data only tags is allowed`, nil},
		{`{"data":1,"tags":"a"}`, "tags: give a list of strings", nil},
		{`{"data":1,"tags":[""]}`, "tags: each has 1 to 128 bytes", nil},
		{`{"data":1`, "data: it is not JSON", nil},
		{``, "data: missing: give any JSON", nil},
		{"\"\xff\"", "data: it is not JSON", nil},
		{`1e999`, "data: a number beyond a double", nil},
		{strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "data: lists and objects may be nested at most 100 deep", nil},
		{`1`, plainhttp.HeaderAttempt + `: "x" is not a number`, []string{plainhttp.HeaderAttempt, "x"}},
		{`1`, plainhttp.HeaderFence + `: "jobs/a" is not KEY TOKEN`, []string{plainhttp.HeaderFence, "jobs/a"}},
	} {
		r := nd.plain(http.MethodPost, "/changes", c.body, c.headers...)
		if text, _ := r.at("error").(string); r.status != http.StatusBadRequest || !strings.HasPrefix(text, "invalid: "+c.want) {
			t.Errorf("%.40s: %d %s, want %s", c.body, r.status, r.body, c.want)
		}
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", ""} {
		if r := nd.plain(http.MethodPost, "/changes", `1`, "Content-Type", kind); r.status != http.StatusUnsupportedMediaType || r.at("error") != "invalid: Content-Type: a change is JSON: send the header Content-Type: application/json" {
			t.Errorf("%q: %d %s", kind, r.status, r.body)
		}
	}
	if r := nd.plain(http.MethodPost, "/changes", `"`+strings.Repeat("x", interrex.MaxData)+`"`); r.status != interrex.ErrTooLarge.HTTP() {
		t.Errorf("data beyond its size: %d %s", r.status, r.body)
	}
	if r := nd.plain(http.MethodGet, "/changes", ""); r.at("changes", 1) != nil {
		t.Errorf("something of it was appended: %s", r.body)
	}
}

func TestEveryFormOfAnAppendIsTaken(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, c := range []struct{ body, data, tags string }{
		{`{"data":{"a":1},"tags":["x"]}`, `{"a":1}`, `["x"]`},
		{`{"data":null}`, `null`, `[]`},
		{`{"_id":7,"_ts":8,"data":2}`, `2`, `[]`}, // what GET gives may be posted again
		{`{"a": "<b>"}`, `{"a":"<b>"}`, `[]`},
		{`{"tags":["x"]}`, `{"tags":["x"]}`, `[]`},
		{" [1,\n 2] ", `[1,2]`, `[]`},
		{`"text"`, `"text"`, `[]`},
		{`null`, `null`, `[]`},
	} {
		id := nd.appended(c.body, "Content-Type", "application/json; charset=utf-8")
		r := nd.plain(http.MethodGet, fmt.Sprint("/changes/", id), "")
		if want := fmt.Sprintf(`{"_id":%d,"_ts":T,"tags":%s,"data":%s}`, id, c.tags, c.data); withoutTimes(r.body) != want {
			t.Errorf("%s: %s, want %s", c.body, r.body, want)
		}
	}
}

func TestAnAppendIsRepeatedAndFencedByHeaders(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	first := f.appended(`1`, plainhttp.HeaderRequestID, "mine", plainhttp.HeaderAttempt, "0")
	if again := l.appended(`1`, plainhttp.HeaderRequestID, "mine", plainhttp.HeaderAttempt, "1"); again != first {
		t.Errorf("the repeated one is %d, want %d", again, first)
	}
	token := l.claimed("jobs/a", "ann")
	f.appended(`2`, plainhttp.HeaderFence, fmt.Sprint("jobs/a ", token))
	r := f.plain(http.MethodPost, "/changes", `3`, plainhttp.HeaderFence, fmt.Sprint("jobs/a ", token+1))
	if text, _ := r.at("error").(string); r.status != interrex.ErrNotHeld.HTTP() || !strings.HasPrefix(text, string(interrex.ErrNotHeld)) {
		t.Errorf("under a token that does not hold: %d %s", r.status, r.body)
	}
	if r := l.plain(http.MethodGet, "/changes", ""); r.at("changes", 1, "data") != 2.0 || r.at("changes", 2) != nil {
		t.Errorf("%s", r.body)
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestABodyThatIsTooLargeIsNotRead(t *testing.T) {
	nd := cluster(t, 1)[0]
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, nd.url+"/changes", io.LimitReader(endless{}, 1<<30))
	nd.must(err)
	r.ContentLength = 1 << 30
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Expect", "100-continue")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}
	answer, err := transport.RoundTrip(r)
	runtime.ReadMemStats(&after)
	nd.must(err)
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != interrex.ErrTooLarge.HTTP() || !strings.Contains(string(text), "body: at most") {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d bytes were allocated for it", grown)
	}
}

// serverEvent is one server-sent event.
type serverEvent struct{ id, kind, data string }

// eventsOf returns the events of a stream, until it ends.
func (nd *node) eventsOf(ctx context.Context, path string, headers ...string) <-chan serverEvent {
	nd.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, nd.url+path, nil)
	nd.must(err)
	r.Header.Set("Accept", "application/json;q=0.5, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	nd.must(err)
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		text, _ := io.ReadAll(answer.Body)
		nd.t.Fatalf("%s: %d %s", path, answer.StatusCode, text)
	}
	events, done := make(chan serverEvent), make(chan struct{})
	nd.t.Cleanup(func() { _ = answer.Body.Close(); <-done })
	go func() {
		defer close(done)
		defer close(events)
		var e serverEvent
		for in := bufio.NewScanner(answer.Body); in.Scan(); {
			name, value, _ := strings.Cut(in.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				select {
				case events <- e:
				case <-nd.t.Context().Done():
					return
				}
				e = serverEvent{}
			}
		}
	}()
	return events
}

func TestServerSentEventsFollowTheFeedAndResume(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	first := l.appended(`{"data":"<&>","tags":["a"]}`)
	f.waitFor(func() bool { return uint64(f.state.Revision()) >= first })
	events := f.eventsOf(t.Context(), "/changes?tag=a&tag=b")
	if e := <-events; e.id != fmt.Sprint(first) || e.kind != "user" || withoutTimes(e.data) != fmt.Sprintf(`{"_id":%d,"_ts":T,"tags":["a"],"data":"<&>"}`, first) {
		t.Errorf("%+v", e)
	}
	l.appended(`{"data":2,"tags":["c"]}`)
	l.claimed("jobs/a", "ann")
	second := l.appended(`{"data":3,"tags":["b"]}`)
	if e := <-events; e.id != fmt.Sprint(second) {
		t.Errorf("%+v, want %d", e, second)
	}
	// Another agent continues after the last event seen, regardless of since.
	resumed := l.eventsOf(t.Context(), "/changes?kind=*&since=0", "Last-Event-ID", fmt.Sprint(first+1))
	if e := <-resumed; e.kind != interrex.LeaseClaimed || !strings.Contains(e.data, `"key":"jobs/a"`) {
		t.Errorf("%+v", e)
	}
	if r := l.plain(http.MethodGet, "/changes", "", "Accept", "text/event-stream", "Last-Event-ID", "x"); r.status != http.StatusBadRequest || r.at("error") != `invalid: Last-Event-ID: "x" is not a revision` {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := l.plain(http.MethodGet, "/changes?since=99999", "", "Accept", "text/event-stream"); r.status != http.StatusBadRequest || !strings.Contains(r.body, "since 99999 is in the future") {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, accept := range []string{"*/*", "application/json", "text/html"} {
		if r := l.plain(http.MethodGet, "/changes?limit=1", "", "Accept", accept); r.at("changes", 0, "_id") != float64(first) {
			t.Errorf("Accept: %s: %s", accept, r.body)
		}
	}
}

func TestHistoryThatIsGoneIs410(t *testing.T) {
	nd := cluster(t, 1)[0]
	first := nd.appended(`1`)
	if r := nd.curl("StateService/SetSettings", `{"values":{"changes.keep-count":"1"}}`); r.status != http.StatusOK {
		t.Fatal(r.body)
	}
	nd.appended(`2`)
	last := nd.appended(`3`)
	r := nd.plain(http.MethodGet, fmt.Sprintf("/changes?since=%d", first), "")
	floor, _ := r.at("first").(float64)
	if text, _ := r.at("error").(string); r.status != http.StatusGone || !strings.HasPrefix(text, "compacted: ") || floor < float64(first) || floor >= float64(last) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := nd.plain(http.MethodGet, fmt.Sprintf("/changes?since=%.0f", floor), ""); r.at("changes", 0, "_id") != float64(last) {
		t.Errorf("from where it says: %s", r.body)
	}
	if r := nd.plain(http.MethodGet, fmt.Sprint("/changes/", first), ""); r.status != http.StatusNotFound || !strings.Contains(r.body, "is no longer kept") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAnAgentWithoutALogYetSaysThatItIsUnavailable(t *testing.T) {
	nodes := cluster(t, 1)
	st, err := machine.New(machine.Config{Tables: []state.Table{change.New()}, Publisher: watch.New(watch.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	nodes[0].server.checker.State = st // as after a restart, before a leader says what is committed
	for _, path := range []string{"/changes", "/changes?since=7", "/changes?since=7&block=60"} {
		if r := nodes[0].plain(http.MethodGet, path, ""); r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "has not applied its log yet") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}
