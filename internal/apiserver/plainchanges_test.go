package apiserver

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

const isJSON = "Content-Type: application/json"

func TestChangesAreAppendedAndReadThroughEveryAgent(t *testing.T) {
	nodes := cluster(t, 3)
	follower := nodes[2]
	nodes[0].expect(nodes[0].kv("POST", "/changes", `{"data":{"n":12345678901234567890},"tags":["a","b"]}`, isJSON), 200, `{"_id":`)
	second := follower.kv("POST", "/changes", ` [1, "x"] `, "Content-Type: application/json; charset=utf-8")
	follower.expect(second, 200, `{"_id":`)
	nodes[0].claimed("db", "ann")
	id := regexp.MustCompile(`\d+`).FindString(second.body)
	one := follower.kv("GET", "/changes/"+id, "")
	if !regexp.MustCompile(`^\{"_id":` + id + `,"_ts":\d{19},"tags":\[\],"data":\[1,"x"\]\}\n$`).MatchString(one.body) {
		t.Errorf("%s", one.body)
	}
	reached, err := strconv.ParseUint(id, 10, 64)
	nodes[0].must(err)
	nodes[0].must(nodes[0].state.WaitRevision(t.Context(), interrex.Revision(reached)))
	all := nodes[0].kv("GET", "/changes", "")
	shape := regexp.MustCompile(`^\{"changes":\[\{"_id":\d+,"_ts":\d{19},"tags":\["a","b"\],"data":\{"n":12345678901234567890\}\},\{.*\}\],"atStart":true,"atEnd":true,"first":\d+,"last":\d+\}\n$`)
	if !shape.MatchString(all.body) || strings.Contains(all.body, "lease") {
		t.Errorf("%s", all.body)
	}
	nodes[0].expect(nodes[0].kv("GET", "/changes?tag=b&limit=1", ""), 200, `"n":12345678901234567890`)
	nodes[0].expect(nodes[0].kv("GET", "/changes?limit=1", ""), 200, `"atEnd":false`)
	nodes[0].expect(nodes[0].kv("GET", "/changes?since="+id, ""), 200, `{"changes":[],"atStart":false,"atEnd":true`)
	nodes[0].expect(nodes[0].kv("GET", "/changes?kind=lease.claimed&block=30", ""), 200, `"kind":"lease.claimed","key":"default/db"`)
	nodes[0].expect(nodes[0].kv("GET", "/changes?kind=*&prefix=default/&block=30", ""), 200, `"holder":"ann"`)
}

func TestWhatIsWrongWithARequestForChangesIsSaid(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("db", "ann")
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for _, c := range []struct {
		method, path, body, header string
		status                     int
		want                       string
	}{
		{"GET", "/changes?since=x", "", "", 400, `?since: \"x\" is not a number`},
		{"GET", "/changes?limit=-1", "", "", 400, "?limit: "},
		{"GET", "/changes?limit=1001", "", "", 400, "limit: at most 1000"},
		{"GET", "/changes?block=soon", "", "", 400, "?block: "},
		{"GET", "/changes?block=11m", "", "", 400, "block: at most 10 min"},
		{"GET", "/changes?kind=lease.gone", "", "", 400, "is not one of lease.claimed, "},
		{"GET", "/changes?foo=1", "", "", 400, "?foo: unknown parameter"},
		{"GET", "/changes?since=1;limit=1", "", "", 400, "it cannot be parsed"},
		{"DELETE", "/kv?namespace=%zz&prefix=", "", "", 400, "it cannot be parsed"},
		{"GET", "/changes?since=1&since=0", "", "", 400, "?since: given 2 times, but allowed once"},
		{"GET", "/changes?tag=a&tag=", "", "", 400, "tags: each has 1 to 128 bytes"},
		{"GET", "/changes/1?tag=a", "", "", 400, "?tag: unknown parameter: this path takes none"},
		{"GET", "/changes?since=99", "", "", 400, "since 99 is in the future"},
		{"GET", "/changes?since=99&block=30", "", "", 400, "since 99 is in the future"},
		{"POST", "/changes?tag=a", "1", isJSON, 400, "?tag: unknown parameter: this path takes none"},
		{"POST", "/changes", `{"data":1,"data":2}`, isJSON, 400, "a duplicate name"},
		{"POST", "/changes", `{"data":1,"tags":["\ud800"]}`, isJSON, 400, "a number beyond a double"},
		{"POST", "/changes", "{\"data\":1,\"tags\":[\"\xff\"]}", isJSON, 400, "invalid: "},
		{"POST", "/changes", `{"data":` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `}`, isJSON, 400, "nested at most 100 deep"},
		{"GET", "/changes/" + strings.Repeat("x", 10_000), "", "", 400, strings.Repeat("x", 80) + `\": its id`},
		{"GET", "/changes?tag=" + strings.Repeat("x", 10_000), "", "", 400, strings.Repeat("x", 80) + `\" has 10000`},
		{"GET", "/changes/x", "", "", 400, "its id must be a number"},
		{"GET", "/changes/99", "", "", 404, "not found: there is no change 99"},
		{"DELETE", "/changes", "", "", 405, "takes GET, POST"},
		{"POST", "/changes", "1", "Content-Type: text/plain", 415, "Content-Type"},
		{"POST", "/changes", "{", isJSON, 400, "data: it is not JSON"},
		{"POST", "/changes", deep, isJSON, 400, "nested at most 100 deep"},
		{"POST", "/changes", `{"data":1,"colour":"red"}`, isJSON, 400, `\"colour\": besides data only tags is allowed`},
		{"POST", "/changes", `{"data":1,"tags":"a"}`, isJSON, 400, "tags: give a list"},
		{"POST", "/changes", `"` + strings.Repeat("x", 600<<10) + `"`, isJSON, 400, "too large: "},
		{"POST", "/changes", `"` + strings.Repeat("x", wire.MaxBody) + `"`, isJSON, 400, "too large: body"},
	} {
		var headers []string
		if c.header != "" {
			headers = append(headers, c.header)
		}
		r := nd.kv(c.method, c.path, c.body, headers...)
		if r.status != c.status || !strings.Contains(r.body, c.want) || !strings.HasPrefix(r.body, `{"error":"`) {
			t.Errorf("%s %s: %d %.200s, want %d %s", c.method, c.path, r.status, r.body, c.status, c.want)
		}
	}
}

func TestDataInAnObjectMayBeAsDeepAsAlone(t *testing.T) {
	nd := cluster(t, 1)[0]
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	nd.expect(nd.kv("POST", "/changes", deep, isJSON), 200, "_id")
	nd.expect(nd.kv("POST", "/changes", `{"data":`+deep+`}`, isJSON), 200, "_id")
}

func TestAListDoesNotGoOnAfterWhatTheClusterHasNotReached(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	l.claimed("db", "ann")
	f.waitFor(func() bool { return f.kv("GET", "/changes", "").status == 200 })
	for i := range 20 { // the follower has not heard of some of them
		id := fmt.Sprint(l.claimed(fmt.Sprintf("jobs/%d", i), "ann"))
		f.expect(f.kv("GET", "/changes?since="+id, ""), 200, `{"changes":[],`)
		if r := f.curl("ChangeService/List", `{"since":"`+id+`"}`); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	for _, nd := range []*node{l, f} {
		nd.expect(nd.kv("GET", "/changes?since=1000", ""), 400, "since 1000 is in the future")
		if r := nd.curl("ChangeService/List", `{"since":"1000","block":"20s"}`); r.status != 400 || !strings.Contains(r.body, "since 1000 is in the future") {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}

func TestAHeadOfAStreamEnds(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("db", "ann")
	if r := nd.kv("HEAD", "/changes", "", "Accept: text/event-stream"); r.status != 200 || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

func TestAnAppendIsDoneOnceAndFenced(t *testing.T) {
	nd := cluster(t, 1)[0]
	first := nd.kv("POST", "/changes", "1", isJSON, "Interrex-Request-Id: mine")
	again := nd.kv("POST", "/changes", "1", isJSON, "Interrex-Request-Id: mine", "Interrex-Attempt: 1")
	if first.status != 200 || again.body != first.body {
		t.Errorf("%s and %s", first.body, again.body)
	}
	token := fmt.Sprint(nd.claimed("db", "ann"))
	nd.expect(nd.kv("POST", "/changes", "2", isJSON, "Interrex-Fence: db "+token), 200, "_id")
	nd.expect(nd.kv("POST", "/changes", "3", isJSON, "Interrex-Fence: db 999"), 409, "not held: ")
	nd.expect(nd.kv("POST", "/changes", "3", isJSON, "Interrex-Fence: db"), 400, "is not KEY TOKEN")
}

// sse reads server-sent events until there are as many.
func (nd *node) sse(ctx context.Context, path, last string, n int) (ids, kinds []string) {
	nd.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", nd.url+path, nil)
	nd.must(err)
	r.Header.Set("Accept", "text/event-stream")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	nd.must(err)
	defer func() { _ = answer.Body.Close() }()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		nd.t.Errorf("%s", kind)
	}
	for lines := bufio.NewScanner(answer.Body); len(kinds) < n && lines.Scan(); {
		if id, is := strings.CutPrefix(lines.Text(), "id: "); is {
			ids = append(ids, id)
		}
		if kind, is := strings.CutPrefix(lines.Text(), "event: "); is {
			kinds = append(kinds, kind)
		}
	}
	return ids, kinds
}

func TestChangesAreStreamedAndResumed(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.kv("POST", "/changes", "1", isJSON)
	nd.claimed("db", "ann")
	nd.kv("POST", "/changes", "2", isJSON)
	ids, kinds := nd.sse(t.Context(), "/changes?kind=*", "", 3)
	if fmt.Sprint(kinds) != "[user lease.claimed user]" {
		t.Errorf("%v", kinds)
	}
	var all sync.WaitGroup
	all.Go(func() {
		if more, _ := nd.sse(t.Context(), "/changes", ids[1], 2); len(more) != 2 || more[0] != ids[2] {
			t.Errorf("after %s: %v", ids[1], more)
		}
	})
	nd.kv("POST", "/changes", "3", isJSON)
	all.Wait()
}

func TestALongPollIsWokenByWhatItWants(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.kv("POST", "/changes", "1", isJSON)
	began := time.Now()
	nd.expect(nd.kv("GET", "/changes?since=1&block=1", ""), 200, `"changes":[]`)
	if took := time.Since(began); took < time.Second {
		t.Errorf("it waited %v", took)
	}
	var all sync.WaitGroup
	all.Go(func() {
		nd.expect(nd.kv("GET", "/changes?since=1&tag=mine&block=5m", ""), 200, `"tags":["mine"]`)
	})
	for range 3 {
		nd.kv("POST", "/changes", `{"data":1,"tags":["other"]}`, isJSON)
	}
	nd.kv("POST", "/changes", `{"data":2,"tags":["mine"]}`, isJSON)
	all.Wait()
}

func TestWhatWaitsForChangesEndsWithTheServer(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.kv("POST", "/changes", "1", isJSON)
	var all sync.WaitGroup
	all.Go(func() { nd.expect(nd.kv("GET", "/changes?since=1&block=5m", ""), 200, `"changes":[]`) })
	all.Go(func() { nd.expect(nd.kv("GET", "/kv/none?since=1&block=5m", ""), 503, "draining") })
	for _, path := range []string{"/changes", "/kv/none", "/kv?prefix=none"} {
		all.Go(func() {
			if _, kinds := nd.sse(t.Context(), path, "", 100); len(kinds) == 0 || kinds[len(kinds)-1] != "draining" {
				t.Errorf("%s: %v, want draining at the end", path, kinds)
			}
		})
	}
	all.Go(func() { nd.expect(nd.curl("ChangeService/List", `{"since":"1","block":"300s"}`), 200, `"items":[]`) })
	for deadline := time.Now().Add(time.Minute); nd.changes.Waiting() < 3 || nd.ring.Stats().Watchers < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("they do not wait")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := nd.server.Drain(ctx); err != nil {
		t.Error(err)
	}
	all.Wait()
}

func TestABodyMayBeCompressed(t *testing.T) {
	nd := cluster(t, 1)[0]
	zip := func(text string) string {
		var b strings.Builder
		w := gzip.NewWriter(&b)
		_, err := w.Write([]byte(text))
		nd.must(errors.Join(err, w.Close()))
		return b.String()
	}
	const zipped = "Content-Encoding: gzip"
	nd.expect(nd.kv("POST", "/changes", zip(`{"data":{"n":1}}`), isJSON, zipped), 200, `{"_id":1}`)
	nd.expect(nd.kv("GET", "/changes", ""), 200, `"data":{"n":1}`)
	nd.expect(nd.kv("PUT", "/kv/a", zip("hello"), zipped), 200, "version")
	nd.expect(nd.kv("GET", "/kv/a", ""), 200, "hello")
	nd.expect(nd.kv("POST", "/changes", "1", isJSON, "Content-Encoding: identity"), 200, "_id")
	nd.expect(nd.kv("POST", "/changes", "1", isJSON, zipped), 400, "Content-Encoding says gzip, but it cannot be decompressed")
	nd.expect(nd.kv("PUT", "/kv/b", zip("hello")[:20], zipped), 400, "cannot be decompressed")
	nd.expect(nd.kv("POST", "/changes", "1", isJSON, "Content-Encoding: br"), 400, `br\" is not supported`)
	nd.expect(nd.kv("POST", "/changes", zip(`"`+strings.Repeat("x", wire.MaxBody)+`"`), isJSON, zipped), 400, "too large: body: at most")
}
