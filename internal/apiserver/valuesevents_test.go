package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/watches"
)

// putValue writes a key and returns the revision.
func (nd *node) putValue(key, value string) uint64 {
	nd.t.Helper()
	r := nd.kv("PUT", "/kv/"+key, value)
	nd.expect(r, 200, "")
	return revisionOf(r)
}

// revisionOf returns the revision in the answer to a write.
func revisionOf(r reply) uint64 {
	revision, _ := r.at("revision").(float64)
	return uint64(revision)
}

// sends expects the next event of a stream.
func (nd *node) sends(events <-chan serverEvent, id uint64, kind, data string) {
	nd.t.Helper()
	want := serverEvent{kind: kind, data: data}
	if id > 0 {
		want.id = fmt.Sprint(id)
	}
	if got := <-events; got != want {
		nd.t.Errorf("got %+v, want %+v", got, want)
	}
}

func valueJSON(key, value string, revision uint64) string {
	return fmt.Sprintf(`{"key":%q,"namespace":"default","value":%q,"version":"%d","revision":%d}`, key, value, revision, revision)
}

func goneJSON(key string, revision uint64) string {
	return fmt.Sprintf(`{"key":%q,"namespace":"default","revision":%d}`, key, revision)
}

func TestAKeyIsFollowedAndResumedElsewhere(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	other := l.putValue("kk", "other")
	events := f.eventsOf(t.Context(), "/kv/k")
	f.sends(events, other, "delete", goneJSON("k", other))
	first := l.putValue("k", "1")
	f.sends(events, first, "upsert", valueJSON("k", "1", first))
	l.putValue("kk", "other")
	l.expect(l.kv("PUT", "/kv/k?namespace=ns", "other"), 200, "")
	second := f.putValue("k", "2")
	f.sends(events, second, "upsert", valueJSON("k", "2", second))
	gone := revisionOf(f.kv("DELETE", "/kv/k", ""))
	f.sends(events, gone, "delete", goneJSON("k", gone))

	for _, resumed := range []<-chan serverEvent{
		l.eventsOf(t.Context(), "/kv/k?since=1", "Last-Event-ID", fmt.Sprint(first)),
		l.eventsOf(t.Context(), fmt.Sprint("/kv/k?since=", first)),
	} {
		l.sends(resumed, second, "upsert", valueJSON("k", "2", second))
		l.sends(resumed, gone, "delete", goneJSON("k", gone))
	}
	last := l.putValue("k", "3")
	l.sends(l.eventsOf(t.Context(), fmt.Sprint("/kv/k?consistency=eventual&min_revision=", last)), last, "upsert", valueJSON("k", "3", last))
}

func TestKeysWithAPrefixAreFollowed(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	const keys = watches.MaxPresent + 10 // more than one part
	for at := 0; at < keys; at += 64 {
		var all []string
		for i := at; i < min(at+64, keys); i++ {
			all = append(all, fmt.Sprintf(`{"put":{"key":"a/%03d","value":"v"}}`, i))
		}
		l.expect(l.kv("POST", "/kv", `{"operations":[`+strings.Join(all, ",")+`]}`), 200, "")
	}
	last := l.putValue("b", "other")
	events := f.eventsOf(t.Context(), "/kv?prefix=a/")
	for i := range keys {
		if e := <-events; e.kind != "upsert" || e.id != "" || !strings.HasPrefix(e.data, fmt.Sprintf(`{"key":"a/%03d"`, i)) {
			t.Fatalf("%d: %+v", i, e)
		}
	}
	f.sends(events, last, "end_of_snapshot", fmt.Sprintf(`{"revision":%d}`, last))

	l.putValue("b", "other")
	written := l.putValue("a/000", "w")
	f.sends(events, written, "upsert", valueJSON("a/000", "w", written))
	cleared := revisionOf(l.kv("DELETE", "/kv?prefix=a/00", ""))
	for i := range uint64(10) {
		gone := cleared - 9 + i
		f.sends(events, gone, "delete", goneJSON(fmt.Sprintf("a/%03d", i), gone))
	}
	resumed := l.eventsOf(t.Context(), "/kv?prefix=a/00", "Last-Event-ID", fmt.Sprint(last))
	l.sends(resumed, written, "upsert", valueJSON("a/000", "w", written))
	l.sends(resumed, cleared-9, "delete", goneJSON("a/000", cleared-9))

	empty := l.eventsOf(t.Context(), "/kv?namespace=none")
	l.sends(empty, cleared, "end_of_snapshot", fmt.Sprintf(`{"revision":%d}`, cleared))
}

// A value written while the snapshot is sent comes once: in the snapshot or after it.
func TestWritesDuringTheSnapshotAreSentOnce(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range 20 {
		nd.putValue(fmt.Sprint("k", i), "0")
	}
	done := make(chan uint64)
	go func() {
		last := uint64(0)
		for i := range 200 {
			last = nd.putValue(fmt.Sprint("k", i%20), fmt.Sprint(i))
		}
		done <- last
	}()
	seen := map[string]uint64{}
	follow := nd.eventsOf(t.Context(), "/kv?prefix=k")
	last, ended := uint64(0), false
	for end := uint64(0); end == 0 || last < end; {
		select {
		case end = <-done:
			done = nil
		case e := <-follow:
			var v struct {
				Key      string
				Revision uint64
			}
			if err := json.Unmarshal([]byte(e.data), &v); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			if e.kind == "end_of_snapshot" {
				ended = true
				continue
			}
			if v.Revision <= seen[v.Key] {
				t.Fatalf("%+v after revision %d", e, seen[v.Key])
			}
			seen[v.Key], last = v.Revision, max(last, v.Revision)
		}
	}
	if !ended || len(seen) != 20 {
		t.Errorf("%d keys, the snapshot ended: %v", len(seen), ended)
	}
}

func TestWhatCannotBeFollowedIsSaid(t *testing.T) {
	nd := cluster(t, 1)[0]
	first := nd.putValue("k", "1")
	sse := "Accept: text/event-stream"
	for _, c := range []struct {
		path, header string
		status       int
		want         string
	}{
		{"/kv/k?json", "", 400, "unknown parameter"},
		{"/kv/k?block=1s", "", 400, "unknown parameter"},
		{"/kv?separator=/", "", 400, "unknown parameter"},
		{"/kv/k?since=x", "", 400, "is not a number"},
		{"/kv/k?since=99999", "", 400, "since 99999 is in the future"},
		{"/kv?prefix=k&since=99999", "", 400, "since 99999 is in the future"},
		{"/kv/k", "Last-Event-ID: x", 400, "is not a revision"},
		{"/kv/k?min_revision=99999", "", 400, "min_revision: 99999 has not been reached"},
		{"/kv/k?consistency=eventual&min_revision=99999", "", 400, "min_revision: 99999 has not been reached"},
		{"/kv?namespace=A", "", 400, "tenancy: namespace"},
		{"/kv?prefix=" + strings.Repeat("k", 600), "", 400, "name_prefix"},
	} {
		headers := []string{sse}
		if c.header != "" {
			headers = append(headers, c.header)
		}
		nd.expect(nd.kv("GET", c.path, "", headers...), c.status, c.want)
	}
	if r := nd.kv("HEAD", "/kv/k", "", sse); r.status != 200 || r.header.Get("ETag") == "" {
		t.Errorf("%d %v", r.status, r.header)
	}
	if r := nd.curl("StateService/SetSettings", `{"values":{"changes.keep-count":"1"}}`); r.status != http.StatusOK {
		t.Fatal(r.body)
	}
	nd.putValue("k", "2")
	nd.putValue("k", "3")
	nd.ring.Reset(nd.state.Revision(), 0)
	r := nd.kv("GET", fmt.Sprint("/kv/k?since=", first), "", sse)
	if floor, _ := r.at("first").(float64); r.status != http.StatusGone || !strings.Contains(r.body, "compacted: ") || floor <= float64(first) {
		t.Errorf("%d %s", r.status, r.body)
	}
}
