package featuretests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/interrex/interrex/client"
)

// valueEvent is a server-sent event about a key.
type valueEvent struct {
	id, kind string
	Value    string
}

// follow opens a stream of server-sent events of member i. next returns the next
// one; false: the stream has ended.
func (f *fleet) follow(ctx context.Context, i int, path, last string) (next func() (valueEvent, bool)) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.members[i].config.API.Listen+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Last-Event-ID", last)
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		f.t.Fatal(answer.Status)
	}
	lines := bufio.NewScanner(answer.Body)
	return func() (e valueEvent, more bool) {
		for lines.Scan() {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e); err != nil {
					f.t.Fatal(err)
				}
				return e, true
			}
		}
		return e, false
	}
}

// A caller that follows keys at a follower while the leader is killed, and continues
// at another agent when the first one is killed, sees every write once, in order.
func TestKeysAreFollowedWhileAgentsAreKilled(t *testing.T) {
	f := newFleet(t, 3, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	leader := f.leader()
	followed, writer := f.others(leader)[0], f.others(leader)[1]
	kv := client.KV{By: f.client(writer)}
	written, seen, last := 0, 0, ""
	write := func() {
		t.Helper()
		for range 50 {
			if _, err := kv.Put(ctx, fmt.Sprint("f/", written%3), fmt.Append(nil, written), "", client.Options{}); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	see := func(next func() (valueEvent, bool)) {
		t.Helper()
		for ; seen < written; seen++ {
			e, more := next()
			if !more || e.kind != "upsert" || e.Value != fmt.Sprint(seen) {
				t.Fatalf("after %d of %d writes: %+v", seen, written, e)
			}
			last = e.id
		}
	}
	next := f.follow(ctx, followed, "/kv?prefix=f/", "")
	if e, _ := next(); e.kind != "end_of_snapshot" {
		t.Fatalf("%+v", e)
	}
	write()
	f.kill(leader)
	write()
	see(next)
	f.start(leader)
	f.answers(leader)
	f.kill(followed)
	write()
	if e, more := next(); more {
		t.Fatalf("the agent is dead, and has sent %+v", e)
	}
	see(f.follow(ctx, writer, "/kv?prefix=f/&since=1", last))
}
