package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/limits"
)

func appendOp(id uint64, n float64, tags ...string) *interrexv1.Operation {
	return op(id, interrexv1.ChangeServiceAppendProcedure, &interrexv1.ChangeServiceAppendRequest{Data: structpb.NewNumberValue(n), Tags: tags})
}

func pollOp(id, since uint64, block time.Duration, tags ...string) *interrexv1.Operation {
	return op(id, interrexv1.ChangeServiceListProcedure, &interrexv1.ChangeServiceListRequest{
		Since: since, Tags: tags, Kinds: []string{interrex.UserChange}, Block: durationpb.New(block),
	})
}

// At every agent, in every protocol, a change is appended, got, listed and followed.
func TestEveryAgentServesTheFeedInEveryProtocol(t *testing.T) {
	nodes := cluster(t, 3)
	for _, p := range []struct {
		name    string
		options []connect.ClientOption
	}{
		{"Connect", nil},
		{"gRPC", []connect.ClientOption{connect.WithGRPC()}},
		{"JSON", []connect.ClientOption{connect.WithProtoJSON()}},
	} {
		for _, nd := range nodes {
			name := p.name + " at " + nd.id
			c := interrexv1.NewChangeServiceClient(nd.http, nd.url, p.options...)
			data, err := structpb.NewValue(map[string]any{"name": name})
			nd.must(err)
			made, err := c.Append(t.Context(), connect.NewRequest(&interrexv1.ChangeServiceAppendRequest{Data: data, Tags: []string{name}}))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			revision := made.Msg.GetRevision()
			if one := made.Msg.GetChange(); one.GetRevision() != revision || one.GetKind() != "user" || one.GetTags()[0] != name || one.GetTime() == nil || made.Msg.GetReplayed() {
				t.Errorf("%s: appended %v", name, made.Msg)
			}
			got, err := c.Get(t.Context(), connect.NewRequest(&interrexv1.ChangeServiceGetRequest{Revision: revision}))
			if err != nil || got.Msg.GetChange().String() != made.Msg.GetChange().String() {
				t.Errorf("%s: got %v, %v, want %v", name, got, err, made.Msg.GetChange())
			}
			list, err := c.List(t.Context(), connect.NewRequest(&interrexv1.ChangeServiceListRequest{Tags: []string{name}, MinRevision: revision}))
			if err != nil || len(list.Msg.GetItems()) != 1 || list.Msg.GetLast() != revision || !list.Msg.GetAtStart() || !list.Msg.GetAtEnd() || list.Msg.GetRevision() != revision {
				t.Errorf("%s: listed %v, %v", name, list, err)
			}
			w, err := c.Watch(t.Context(), connect.NewRequest(&interrexv1.ChangeServiceWatchRequest{Since: revision - 1, Tags: []string{name}}))
			if err != nil || !w.Receive() || w.Msg().GetEvents()[0].GetRevision() != revision {
				t.Errorf("%s: watched %v, %v", name, w.Msg(), w.Err())
			}
			_ = w.Close()
		}
	}
}

func TestTheFeedInJSONHasItsShape(t *testing.T) {
	nd := cluster(t, 1)[0]
	made := nd.curl("ChangeService/Append", `{"data":{"a":{"b":null}},"tags":["x"],"requestId":"mine"}`)
	at := made.at("change", "time")
	want := fmt.Sprintf(`{"change":{"revision":"1","kind":"user","key":"","tags":["x"],"time":"%s","data":{"a":{"b":null}}},"replayed":false,"revision":"1"}`, at)
	if tight(made.body) != want {
		t.Errorf("got  %s\nwant %s", made.body, want)
	}
	again := nd.curl("ChangeService/Append", `{"data":{"a":{"b":null}},"tags":["x"],"request_id":"mine","attempt":1}`)
	if want := strings.Replace(want, `"replayed":false`, `"replayed":true`, 1); tight(again.body) != want {
		t.Errorf("repeated: got  %s\nwant %s", again.body, want)
	}
	list := nd.curl("ChangeService/List", `{"kinds":["user"],"block":"60s"}`)
	want = fmt.Sprintf(`{"items":[{"revision":"1","kind":"user","key":"","tags":["x"],"time":"%s","data":{"a":{"b":null}}}],"first":"1","last":"1","at_start":true,"at_end":true,"revision":"1"}`, at)
	if tight(list.body) != want {
		t.Errorf("got  %s\nwant %s", list.body, want)
	}
	for _, c := range []struct{ method, body, kind string }{
		{"Append", `{}`, "invalid"},
		{"Append", `{"data":1,"json":"1"}`, "invalid"},
		{"Append", `{"json":"{"}`, "invalid"},
		{"Append", `{"data":1,"tags":[""]}`, "invalid"},
		{"Append", `{"data":1,"fence":{"key":"jobs/a","token":"7"}}`, "not held"},
		{"Append", `{"data":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "invalid"},
		{"List", `{"limit":1001}`, "invalid"},
		{"List", `{"block":"601s"}`, "invalid"},
		{"List", `{"block":"-1s"}`, "invalid"},
		{"List", `{"kinds":["lease.gone"]}`, "invalid"},
		{"List", `{"min_revision":"99"}`, "invalid"},
		{"Get", `{"revision":"99"}`, "not found"},
		{"Get", `{}`, "not found"},
	} {
		if r := nd.curl("ChangeService/"+c.method, c.body); r.kind() != c.kind {
			t.Errorf("%s %.50s: %d %.300s, want %s", c.method, c.body, r.status, r.body, c.kind)
		}
	}
}

// tight removes all spaces.
func tight(text string) string { return strings.Join(strings.Fields(text), "") }

func TestLongPollsHoldUpNothingElseOnTheirStream(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	l.appended(`0`) // reads begin when something is applied
	f.waitFor(func() bool { return f.state.Revision() > 0 })
	for _, nd := range []*node{l, f} {
		s := nd.stream(t.Context(), nd.url)
		const polls = 100
		for id := range uint64(polls) {
			s.send(pollOp(id+1, 0, limits.MaxBlock, fmt.Sprint(nd.id, id)))
		}
		s.send(appendOp(1000, 7), claimOp(1001, "jobs/"+nd.id, "ann"), getOp(1002, "jobs/none"))
		if got := s.answers(3); got[1000].GetError() != nil || got[1001].GetError() != nil || got[1002].GetError().GetKind() != "not found" {
			t.Errorf("%s: %v", nd.id, got)
		}
		s.send(appendOp(1003, 8, nd.id+"42"))
		got := s.answers(2)
		page := as[interrexv1.ChangeServiceListResponse](t, got[43])
		if len(page.GetItems()) != 1 || page.GetItems()[0].GetData().GetNumberValue() != 8 {
			t.Errorf("%s: the poll of what was appended is answered %v", nd.id, page)
		}
	}
}

// A long poll ends with the changes so far, so that the drain need not wait for it.
func TestADrainEndsLongPollsAtOnce(t *testing.T) {
	nd := cluster(t, 1)[0]
	since := nd.appended(`1`)
	s := nd.stream(t.Context(), nd.url)
	s.send(pollOp(1, since, limits.MaxBlock, "never"))
	plain := make(chan reply, 2)
	for _, path := range []string{"/changes?since=%d&block=600", "/changes?since=%d&block=10m&tag=never"} {
		go func() { plain <- nd.plain("GET", fmt.Sprintf(path, since), "") }()
	}
	alone := make(chan reply, 1)
	go func() {
		alone <- nd.curl("ChangeService/List", fmt.Sprintf(`{"since":"%d","block":"600s"}`, since))
	}()
	nd.waitFor(func() bool { return nd.changes.Waiting() == 4 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	nd.must(nd.server.Drain(ctx))
	for range 2 {
		if r := <-plain; r.status != 200 || r.at("changes", 0) != nil || r.at("last") != float64(since) {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if r := <-alone; r.status != 200 || r.at("revision") != fmt.Sprint(since) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if page := as[interrexv1.ChangeServiceListResponse](t, s.answers(1)[1]); page.GetRevision() != since || !page.GetAtEnd() {
		t.Errorf("%v", page)
	}
}

func TestALongPollWhoseCallerHasGoneWaitsNoLonger(t *testing.T) {
	nd := cluster(t, 1)[0]
	since := nd.appended(`1`)
	s := nd.stream(t.Context(), nd.url)
	s.send(pollOp(1, since, limits.MaxBlock))
	nd.waitFor(func() bool { return nd.changes.Waiting() == 1 })
	s.cancel(1)
	nd.waitFor(func() bool { return nd.changes.Waiting() == 0 })
}
