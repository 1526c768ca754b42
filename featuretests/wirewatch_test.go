package featuretests

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/interrextest"
)

// What a watch starts with, each kind of event, and what ends a watch stay the same.
func TestEventsOnTheWireStay(t *testing.T) {
	t.Parallel()
	var frames [3]map[string][]string
	for _, p := range protocols {
		a := interrextest.Start(t, withAPI(nil))
		for _, x := range eventful() {
			if r := newTalker(t, apiOf(a), overJSON).ask(x); r.status != "200" {
				t.Fatalf("%s: %s %s", x.name, r.status, r.body)
			}
		}
		k := newTalker(t, apiOf(a), p)
		frames[p] = map[string][]string{}
		for _, w := range watched() {
			frames[p][w.name] = k.watch(w.body, w.events)
		}
	}
	var out strings.Builder
	for _, w := range watched() {
		fmt.Fprintf(&out, "== %s\n> Watch\n> %s\n", w.name, w.body)
		for i, event := range frames[overJSON][w.name] {
			fmt.Fprintf(&out, "< %s\n< %x\n", event, frames[overProto][w.name][i])
			if a, b := frames[overProto][w.name][i], frames[overGRPC][w.name][i]; a != b {
				fmt.Fprintf(&out, "< gRPC: %s\n", b)
			}
		}
		fmt.Fprintln(&out)
	}
	golden(t, "watch", out.String())
}

// eventful are requests that make one event of each kind in the namespace jobs.
func eventful() []exchange {
	one := func(method, body string) exchange {
		return exchange{name: method, method: method, body: body, edit: func(*http.Request) {}}
	}
	return []exchange{
		one("Claim", `{"key":"jobs/a","holder":"ann","ttl":"3600s","metadata":{"address":"db1:80"}}`),     // revision 2
		one("Claim", `{"key":"other/a","holder":"ann","ttl":"3600s"}`),                                    // 3
		one("Claim", `{"key":"jobs/a","holder":"ann","ttl":"3600s","takeover":true}`),                     // 4
		one("Extend", `{"key":"jobs/a","token":"4"}`),                                                     // 5: no event
		one("Transfer", `{"key":"jobs/a","token":"4","to":"bob"}`),                                        // 6
		one("Pin", `{"key":"jobs/a","owner":"ops","reason":"upgrade","for":"3600s"}`),                     // 7
		one("Unpin", `{"key":"jobs/a","owner":"ops"}`),                                                    // 8
		one("Revoke", `{"key":"jobs/a","token":"6"}`),                                                     // 9
		one("Claim", `{"key":"jobs/b","holder":"ann","ttl":"3600s"}`),                                     // 10
		one("Revoke", `{"key":"jobs/b","force":true}`),                                                    // 11
		one("Claim", `{"key":"jobs/c","holder":"cat","ttl":"3600s"}`),                                     // 12
		one("Claim", `{"key":"jobs/d","holder":"dan","ttl":"3600s"}`),                                     // 13
		one("Pin", `{"key":"jobs/d","owner":"ops"}`),                                                      // 14
		one("Claim", `{"key":"short/a","holder":"ann","ttl":"0.2s"}`),                                     // 15, and 16 when it ends
		one("Claim", `{"key":"short/a","holder":"bob","ttl":"3600s","wait":"3600s","request_id":"next"}`), // 17
	}
}

// watchedFor is a watch, and the number of events that it waits for.
type watchedFor struct {
	name, body string
	events     int
}

func watched() []watchedFor {
	return []watchedFor{
		{"watch from the beginning of what is there", `{"namespace":"jobs"}`, 3},
		{"watch of one name", `{"namespace":"jobs","prefix":"d"}`, 2},
		{"watch of all", `{}`, 5},
		{"watch of nothing", `{"namespace":"empty"}`, 1},
		{"watch from a revision on", `{"namespace":"jobs","since":"1"}`, 11},
		{"watch of a lease that ends", `{"prefix":"a","since":"14"}`, 3},
		{"watch of one key", `{"key":"jobs/d"}`, 2},
		{"watch of one key and a namespace", `{"key":"jobs/d","namespace":"jobs"}`, 1},
		{"watch from the future", `{"since":"999999"}`, 1},
		{"watch of a malformed namespace", `{"namespace":"NO"}`, 1},
	}
}

// watch opens a watch and returns its first events, with words for what differs. How
// many of them share a message may vary.
func (k *talker) watch(body string, events int) []string {
	k.t.Helper()
	message, contentType := []byte(body), "application/connect+json"
	if k.protocol != overJSON {
		var m interrexv1.WatchRequest
		k.must(protojson.Unmarshal([]byte(body), &m))
		message = encode(k.t, exchange{method: "Watch"}, body)
		contentType = map[protocol]string{overProto: "application/connect+proto", overGRPC: "application/grpc+proto"}[k.protocol]
	}
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	url := k.url + exchange{method: "Watch"}.path()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(enveloped(message)))
	k.must(err)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Te", "trailers")
	resp, err := k.http.Do(r)
	k.must(err)
	defer resp.Body.Close()
	headers(k.t.(*testing.T), exchange{name: "watch " + body}, response{header: resp.Header})
	var frames []string
	for len(frames) < events {
		found, more := k.frame(resp)
		frames = append(frames, found...)
		if !more {
			break
		}
	}
	return frames
}

// frame reads the events of one message, or the end of the stream.
func (k *talker) frame(resp *http.Response) (texts []string, more bool) {
	k.t.Helper()
	head := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, head); err != nil && k.protocol == overGRPC {
		h := resp.Trailer
		if len(h) == 0 {
			h = resp.Header
		}
		return []string{fmt.Sprintf("ended with %s: %s", h.Get("Grpc-Status"), h.Get("Grpc-Message"))}, false
	} else if err != nil {
		k.t.Fatal(err)
	}
	b := make([]byte, int(head[1])<<24|int(head[2])<<16|int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		k.t.Fatal(err)
	}
	switch {
	case head[0] == 2: // the end, always JSON
		return []string{k.end(b)}, false
	case k.protocol == overJSON:
		var m struct{ Events []json.RawMessage }
		k.must(json.Unmarshal(b, &m))
		for _, e := range m.Events {
			texts = append(texts, steady(compact(e)))
		}
		return texts, true
	}
	var m interrexv1.WatchResponse
	k.must(proto.Unmarshal(b, &m))
	for _, e := range m.Events {
		event, err := proto.Marshal(e)
		k.must(err)
		texts = append(texts, string(steadyMessage(e.ProtoReflect().Descriptor(), event)))
	}
	return texts, true
}

// end returns the JSON that ends a stream of Connect.
func (k *talker) end(b []byte) string {
	var m struct {
		Error struct{ Details []struct{ Value string } }
	}
	k.must(json.Unmarshal(b, &m))
	text := steady(compact(b))
	for _, d := range m.Error.Details {
		value, err := base64.RawStdEncoding.DecodeString(d.Value)
		k.must(err)
		text = strings.ReplaceAll(text, d.Value, fmt.Sprintf("%x", steadyDetail(value)))
	}
	return text
}
