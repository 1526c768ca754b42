package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/method"
)

// kv makes a request of plain HTTP; headers are NAME: VALUE.
func (nd *node) kv(method, path, body string, headers ...string) reply {
	nd.t.Helper()
	r, err := http.NewRequestWithContext(nd.t.Context(), method, nd.url+path, strings.NewReader(body))
	nd.must(err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return nd.send(r)
}

func (nd *node) expect(r reply, status int, text string) {
	nd.t.Helper()
	if r.status != status || !strings.Contains(r.body, text) {
		nd.t.Errorf("%d: %s, want %d: %s", r.status, r.body, status, text)
	}
}

func TestKeysAreReadAndWrittenThroughEveryAgent(t *testing.T) {
	nodes := cluster(t, 3)
	for i, nd := range nodes {
		key := fmt.Sprintf("/kv/a//%d%%20x", i)
		put := nd.kv("PUT", key, "hello")
		nd.expect(put, 200, `"version":"`)
		other := nodes[(i+1)%3]
		got := other.kv("GET", key, "")
		if got.body != "hello" || got.header.Get("ETag") != put.header.Get("ETag") || got.header.Get("Interrex-Version") != put.at("version") {
			t.Errorf("%v: %s", got.header, got.body)
		}
		if head := other.kv("HEAD", key, ""); head.status != 200 || head.body != "" || head.header.Get("Content-Length") != "5" {
			t.Errorf("%d %v", head.status, head.header)
		}
		nd.expect(other.kv("GET", key+"?json", ""), 200, fmt.Sprintf(`{"key":"a//%d x","namespace":"default","value":"hello","version":%q,`, i, put.at("version")))
	}
	nd := nodes[0]
	nd.expect(nd.kv("PUT", "/kv/b?namespace=ns", "\xff\x00"), 200, "")
	if got := nd.kv("GET", "/kv/b?namespace=ns", ""); got.body != "\xff\x00" {
		t.Errorf("%q", got.body)
	}
	nd.expect(nd.kv("GET", "/kv/b?namespace=ns&json", ""), 200, `"value_base64":"/wA="`)
	nd.expect(nd.kv("GET", "/kv/b", ""), 404, "not found: ")
	nd.expect(nd.kv("GET", "/kv?prefix=a&separator=/", ""), 200, `{"keys":["a/"],`)
	nd.expect(nd.kv("GET", "/kv?prefix=a&page_size=1", ""), 200, `"key":"a//0 x"`)
	nd.expect(nd.kv("DELETE", "/kv", ""), 400, "?prefix: missing")
	nd.expect(nd.kv("DELETE", "/kv?prefix=", ""), 400, "or all=true to delete the whole namespace")
	nd.expect(nd.kv("DELETE", "/kv?all=1", ""), 400, "?all: only true")
	nd.expect(nd.kv("DELETE", "/kv?all=true&prefix=a/", ""), 400, "?all: only true")
	nd.expect(nd.kv("DELETE", "/kv?prefix=a/", ""), 200, `"deleted":3`)
	nd.expect(nd.kv("DELETE", "/kv?namespace=ns&all=true", ""), 200, `"deleted":1`)
}

func TestAKeyIsComparedAndSet(t *testing.T) {
	nd := cluster(t, 1)[0]
	first := nd.kv("PUT", "/kv/k", "1", "If-None-Match: *")
	nd.expect(first, 200, "")
	nd.expect(nd.kv("PUT", "/kv/k", "2", "If-None-Match: *"), 409, "cas failure")
	nd.expect(nd.kv("PUT", "/kv/k", "2", "If-Match: "+first.header.Get("ETag")), 200, "")
	nd.expect(nd.kv("PUT", "/kv/k", "3", "If-Match: "+first.header.Get("ETag")), 409, "cas failure")
	nd.expect(nd.kv("DELETE", "/kv/k", "", "If-Match: "+first.header.Get("ETag")), 409, "cas failure")
	nd.expect(nd.kv("POST", "/kv", `{"operations":[{"put":{"key":"x","value":"1"}},{"check":{"key":"k","version":"0"}}]}`), 409, "operation 2: ")
	nd.expect(nd.kv("GET", "/kv/x", ""), 404, "")
	nd.expect(nd.kv("POST", "/kv", `{"operations":[{"put":{"key":"x","value":"","version":"0"}},{"check":{"key":"k"}},{"delete":{"key":"y"}}]}`), 200, `"revision":`)
	nd.expect(nd.kv("GET", "/kv/x", ""), 200, "")
	nd.expect(nd.kv("DELETE", "/kv/k", "", "If-None-Match: *"), 400, "If-None-Match: allowed only for PUT")
	nd.expect(nd.kv("GET", "/kv/k", ""), 200, "2")
	nd.expect(nd.kv("DELETE", "/kv/k", ""), 200, "")
	nd.expect(nd.kv("DELETE", "/kv/k", ""), 200, "")
}

func TestABlockingReadWaitsForItsKeyAlone(t *testing.T) {
	nd := cluster(t, 1)[0]
	wait := func(since string) <-chan reply {
		answer := make(chan reply, 1)
		go func() { answer <- nd.kv("GET", "/kv/k?block=1m&since="+since, "") }()
		return answer
	}
	answer := wait("0")
	nd.kv("PUT", "/kv/kk", "other")
	nd.kv("PUT", "/kv/k", "1")
	nd.expect(<-answer, 200, "1")
	since := nd.kv("GET", "/kv/k", "").header.Get("Interrex-Revision")
	answer = wait(since)
	nd.kv("PUT", "/kv/kk", "other")
	select {
	case r := <-answer:
		t.Fatalf("another key was written: %d %s", r.status, r.body)
	case <-time.After(50 * time.Millisecond):
	}
	nd.kv("DELETE", "/kv/k", "")
	nd.expect(<-answer, 404, "")
	nd.expect(<-wait(since), 404, "")
	since = nd.kv("PUT", "/kv/k", "2").header.Get("Interrex-Revision")
	nd.expect(nd.kv("GET", "/kv/k?since="+since, ""), 304, "")
	nd.expect(nd.kv("GET", "/kv/k?since=999999", ""), 400, "future")
}

func TestWhatIsWrongWithARequestForAKeyIsSaid(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/kv/", "", 400, "key: 1 to 512 bytes are allowed, not 0"},
		{"PUT", "/kv/" + strings.Repeat("k", 10_000), "", 400, "not 10000"},
		{"PUT", "/kv/k", strings.Repeat("v", 512<<10-3), 400, "value: at most 524284 bytes are allowed, not 524285"},
		{"PUT", "/kv/k", strings.Repeat("\xff", 512<<10-3), 400, "value: at most 524284 bytes are allowed, not 524285"},
		{"PUT", "/kv/k", strings.Repeat("v", 512<<10-4), 200, ""},
		{"PUT", "/kv/k", strings.Repeat("\xff", 512<<10-4), 200, ""},
		{"PUT", "/kv/k", strings.Repeat("v", 2<<20), 400, "body: at most"},
		{"GET", "/kv/k?raw", "", 400, "unknown parameter"},
		{"GET", "/kv/k?block=1s", "", 400, "give ?since too"},
		{"GET", "/kv/k?since=1&block=1h", "", 400, "at most"},
		{"GET", "/kv/k?consistency=maybe", "", 400, "neither strong nor eventual"},
		{"GET", "/kv/k?namespace=A", "", 400, "tenancy: namespace"},
		{"PATCH", "/kv/k", "", 405, "GET, HEAD, PUT, DELETE"},
		{"POST", "/kv", `{"operations":[{}]}`, 400, "operation 1: give one of"},
		{"POST", "/kv", `{"operations":[{"put":{"key":"k"}}]}`, 400, "give one of value and value_base64"},
		{"POST", "/kv", "{\"operations\":[{\"put\":{\"key\":\"k\",\"value\":\"a\xff\"}}]}", 400, "UTF-8"},
		{"POST", "/kv", `{"operations":[{"put":{"key":"k","value":"\ud800"}}]}`, 400, "body: it is not one"},
		{"POST", "/kv", `{"operations":[{"put":{"key":"k","key":"l","value":"1"}}]}`, 400, "duplicate"},
		{"POST", "/kv", `{"operations":[{"put":{"key":"k","value":"1"}}]}}`, 400, "body: it is not one"},
		{"POST", "/kv", `null`, 400, "body: it is not one"},
		{"POST", "/kv", strings.Repeat("[", 12_000), 400, "body: it is not one"},
		{"GET", "/kv?page_token=garbage", "", 400, "page_token"},
		{"POST", "/kv", `{"sets":[]}`, 400, "unknown field"},
		{"POST", "/kv", `{"operations":[]} {}`, 400, "body: it is not one"},
		{"POST", "/kv", ``, 400, "body: it is not one"},
		{"POST", "/kv", `{"operations":[]}`, 400, "1 to 64"},
	} {
		nd.expect(nd.kv(c.method, c.path, c.body), c.status, c.want)
	}
	off := cluster(t, 1, func(c *Config) { c.Switches = method.NewSwitches(method.ResourcesSetting) })[0]
	off.expect(off.kv("GET", "/kv/k", ""), 501, "disabled")
}

func TestErrorsNameAKeyAsItsUserWroteIt(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.expect(nd.kv("GET", "/kv/a/b?namespace=team", ""), 404, "not found: key a/b does not exist at revision 0")
	nd.expect(nd.kv("PUT", "/kv/a", "1", `If-Match: "9"`), 409, "cannot write key a: it does not exist")
	nd.expect(nd.kv("POST", "/kv", `{"operations":[{"put":{"key":"x","value":"1"}},{"check":{"key":"a"}}]}`), 409, "operation 2: key a does not exist")
}
