package client_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

func value(t *testing.T, text string) interrex.ResourceData {
	t.Helper()
	data, err := wire.Value([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEveryFieldOfARequestToATableIsSent(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(*operation) *interrexv1.Answer { return answered(&interrexv1.RetireResponse{}) } // of every type
	})
	c := dial(t, client.Config{}, a)
	ctx, fence := t.Context(), interrex.Fence{Key: key, Token: 5}
	mine := client.Options{RequestID: "x", Attempt: 3, Fence: fence}
	envelope := &interrexv1.Operation{RequestId: "x", Attempt: 3, Fence: &interrexv1.Fence{Key: "mine/leader", Token: 5}}
	read := interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: 9}
	const eventual = interrexv1.Consistency_CONSISTENCY_EVENTUAL
	kv := client.KV{By: c, Namespace: "ns"}
	all := wire.ValueID("ns", "")
	one := wire.ValueID("ns", "k")
	owner := one
	owner.UID = "u"
	stored := interrex.Resource{ID: owner, Version: "7", Metadata: map[string]string{"a": "b"}, Data: value(t, "v")}
	what := interrex.ResourceSelection{Type: all.Type, Tenancy: all.Tenancy, NamePrefix: "p"}
	filter := interrex.ChangeFilter{Tags: []string{"t"}, Kinds: []string{"user"}, Prefix: "p"}
	hook := interrex.Webhook{Name: "h", URL: "http://x/", When: interrex.WebhookAfter, Kinds: []string{"user"}, Prefixes: []string{"p"}, Headers: map[string]string{"A": "b"}, Timeout: time.Second, OnFailure: interrex.WebhookAllow, DryRun: true}
	written := func(version string, overwrite bool) *interrexv1.ResourceServiceWriteRequest {
		return &interrexv1.ResourceServiceWriteRequest{Overwrite: overwrite, Resource: wire.Resource(interrex.Resource{ID: one, Version: version, Data: value(t, "v")})}
	}
	for name, c := range map[string]struct {
		call    func()
		request proto.Message
		writes  bool // with the envelope
	}{
		"read": {func() { _, _, _ = c.Resources().Read(ctx, owner, read) },
			&interrexv1.ResourceServiceReadRequest{Id: wire.ResourceID(owner), Consistency: eventual, MinRevision: 9}, false},
		"write": {func() {
			_, _ = c.Resources().Write(ctx, interrex.WriteResourceRequest{Resource: stored, Strict: true, Overwrite: true, RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.ResourceServiceWriteRequest{Resource: wire.Resource(stored), Strict: true, Overwrite: true}, true},
		"delete": {func() {
			_, _ = c.Resources().Delete(ctx, interrex.DeleteResourceRequest{ID: owner, Version: "7", Strict: true, RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.ResourceServiceDeleteRequest{Id: wire.ResourceID(owner), Version: "7", Strict: true}, true},
		"clear": {func() {
			_, _ = c.Resources().Clear(ctx, interrex.ClearResourcesRequest{ResourceSelection: what, RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.ResourceServiceClearRequest{Type: wire.ResourceType(all.Type), Tenancy: wire.Tenancy(all.Tenancy), NamePrefix: "p"}, true},
		"list": {func() {
			_, _ = c.Resources().List(ctx, interrex.ListResourcesRequest{ResourceSelection: what, PageSize: 3, PageToken: "t", ReadOptions: read})
		}, &interrexv1.ResourceServiceListRequest{Type: wire.ResourceType(all.Type), Tenancy: wire.Tenancy(all.Tenancy), NamePrefix: "p", PageSize: 3, PageToken: "t", Consistency: eventual, MinRevision: 9}, false},
		"list by owner": {func() {
			_, _ = c.Resources().ListByOwner(ctx, interrex.ListOwnedRequest{Owner: owner, PageSize: 3, PageToken: "t", ReadOptions: read})
		}, &interrexv1.ResourceServiceListByOwnerRequest{Owner: wire.ResourceID(owner), PageSize: 3, PageToken: "t", Consistency: eventual, MinRevision: 9}, false},
		"get":               {func() { _, _ = kv.Get(ctx, "k", read) }, &interrexv1.ResourceServiceReadRequest{Id: wire.ResourceID(one), Consistency: eventual, MinRevision: 9}, false},
		"put":               {func() { _, _ = kv.Put(ctx, "k", []byte("v"), "", mine) }, written("", true), true},
		"put of a version":  {func() { _, _ = kv.Put(ctx, "k", []byte("v"), "7", mine) }, written("7", false), true},
		"put of a new key":  {func() { _, _ = kv.Put(ctx, "k", []byte("v"), client.Absent, mine) }, written("", false), true},
		"delete of a key":   {func() { _ = kv.Delete(ctx, "k", "7", mine) }, &interrexv1.ResourceServiceDeleteRequest{Id: wire.ResourceID(one), Version: "7"}, true},
		"clear of a prefix": {func() { _, _ = kv.Clear(ctx, "p", mine) }, &interrexv1.ResourceServiceClearRequest{Type: wire.ResourceType(all.Type), Tenancy: wire.Tenancy(all.Tenancy), NamePrefix: "p"}, true},
		"append": {func() {
			_, _ = c.Changes().Append(ctx, interrex.AppendRequest{Data: []byte(`{"a":1}`), Tags: []string{"t"}, RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.ChangeServiceAppendRequest{Json: `{"a":1}`, Tags: []string{"t"}}, true},
		"changes": {func() {
			_, _ = c.Changes().List(ctx, interrex.ListChangesRequest{ChangeFilter: filter, Since: 4, Limit: 5, Block: time.Second, MinRevision: 9})
		}, &interrexv1.ChangeServiceListRequest{Since: 4, Limit: 5, Block: durationpb.New(time.Second), MinRevision: 9, Tags: []string{"t"}, Kinds: []string{"user"}, Prefix: "p"}, false},
		"set a webhook": {func() {
			_, _ = c.Webhooks().Set(ctx, interrex.WebhookRequest{Webhook: hook, Secret: "0123456789abcdef", RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.WebhookServiceSetRequest{Webhook: wire.WebhookSpec(hook), Secret: "0123456789abcdef"}, true},
		"delete a webhook": {func() {
			_, _, _ = c.Webhooks().Delete(ctx, interrex.WebhookDeletion{Name: "h", RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.WebhookServiceDeleteRequest{Name: "h"}, true},
		"get a webhook": {func() { _, _, _ = c.Webhooks().Get(ctx, "h", read) }, &interrexv1.WebhookServiceGetRequest{Name: "h", Consistency: eventual, MinRevision: 9}, false},
		"settings":      {func() { _, _, _ = c.Settings(ctx, read) }, &interrexv1.GetSettingsRequest{Consistency: eventual, MinRevision: 9}, false},
		"propose": {func() {
			_, _ = c.Propose(ctx, interrex.Proposal{Table: 300, Data: []byte("d"), RequestID: "x", Attempt: 3, Fence: fence})
		}, &interrexv1.ProposeRequest{Table: 300, Data: []byte("d")}, true},
	} {
		before := len(a.received())
		c.call()
		got := a.received()[before:]
		if len(got) != 1 || !proto.Equal(got[0].request, c.request) {
			t.Errorf("%s sends %v, want %v", name, got, c.request)
			continue
		}
		want := &interrexv1.Operation{}
		if c.writes {
			want = envelope
		}
		if sent := (&interrexv1.Operation{RequestId: got[0].RequestId, Attempt: got[0].Attempt, Fence: got[0].Fence}); !proto.Equal(sent, want) {
			t.Errorf("%s sends with %v, want %v", name, sent, want)
		}
	}
}

func TestAnAppendWithoutDataIsNotSent(t *testing.T) {
	a := startAgent(t)
	if _, err := dial(t, client.Config{}, a).Changes().Append(t.Context(), interrex.AppendRequest{}); !errors.Is(err, interrex.ErrInvalid) || len(a.received()) > 0 {
		t.Errorf("%v, %d requests", err, len(a.received()))
	}
}

func TestEveryFieldOfATablesAnswerIsRead(t *testing.T) {
	a := startAgent(t)
	c := dial(t, client.Config{}, a)
	ctx := t.Context()
	answer := func(m proto.Message) {
		a.set(func(a *agent) { a.answer = func(*operation) *interrexv1.Answer { return answered(m) } })
	}
	equal := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", what, got, err, want)
		}
	}
	when := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	stored := interrex.Resource{ID: wire.ValueID("", "k"), Version: "7", Data: value(t, "v")}
	answer(&interrexv1.ResourceServiceWriteResponse{Resource: wire.Resource(stored), Replayed: true, Revision: 9})
	written, err := c.Resources().Write(ctx, interrex.WriteResourceRequest{Resource: stored})
	equal("write", written, interrex.Answer[interrex.Resource]{Value: stored, Replayed: true, Revision: 9}, err)
	answer(&interrexv1.ResourceServiceDeleteResponse{Replayed: true, Revision: 9})
	deleted, err := c.Resources().Delete(ctx, interrex.DeleteResourceRequest{ID: stored.ID})
	equal("delete", deleted, interrex.Answer[struct{}]{Replayed: true, Revision: 9}, err)
	answer(&interrexv1.ResourceServiceClearResponse{Deleted: 3, Replayed: true, Revision: 9})
	cleared, err := c.Resources().Clear(ctx, interrex.ClearResourcesRequest{})
	equal("clear", cleared, interrex.Answer[int]{Value: 3, Replayed: true, Revision: 9}, err)
	answer(&interrexv1.ResourceServiceReadResponse{Resource: wire.Resource(stored), Revision: 9})
	found, revision, err := c.Resources().Read(ctx, stored.ID, interrex.ReadOptions{})
	equal("read", found, stored, err)
	equal("read's revision", revision, interrex.Revision(9), err)
	answer(&interrexv1.ResourceServiceListResponse{Items: []*interrexv1.Resource{wire.Resource(stored)}, NextPageToken: "t", Revision: 9})
	page, err := c.Resources().List(ctx, interrex.ListResourcesRequest{})
	equal("list", page, interrex.Page[interrex.Resource]{Items: []interrex.Resource{stored}, NextPageToken: "t", Revision: 9}, err)

	data, err := structpb.NewValue(map[string]any{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	shown := &interrexv1.Change{Revision: 8, Kind: "user", Key: "k", Tags: []string{"t"}, Time: wire.Timestamp(when), Data: data}
	change := interrex.Change{Revision: 8, Kind: "user", Key: "k", Tags: []string{"t"}, Time: when, Data: []byte(`{"a":"b"}`)}
	answer(&interrexv1.ChangeServiceAppendResponse{Change: shown, Replayed: true, Revision: 8})
	appended, err := c.Changes().Append(ctx, interrex.AppendRequest{Data: []byte("null")})
	equal("append", appended, interrex.Answer[interrex.Change]{Value: change, Replayed: true, Revision: 8}, err)
	answer(&interrexv1.ChangeServiceListResponse{Items: []*interrexv1.Change{shown}, First: 1, Last: 8, AtStart: true, AtEnd: true, Revision: 9})
	changes, err := c.Changes().List(ctx, interrex.ListChangesRequest{})
	equal("changes", changes, interrex.ChangePage{Items: []interrex.Change{change}, First: 1, Last: 8, AtStart: true, AtEnd: true, Revision: 9}, err)
	answer(&interrexv1.GetSettingsResponse{Items: []*interrexv1.Setting{{Name: "n", Value: "v", Default: "d", About: "a"}}, Revision: 9})
	settings, revision, err := c.Settings(ctx, interrex.ReadOptions{})
	equal("settings", settings, []interrex.Setting{{Name: "n", Value: "v", Default: "d", About: "a"}}, err)
	equal("their revision", revision, interrex.Revision(9), err)

	refused := interrex.Errorf(interrex.ErrConflict, "no")
	answer(&interrexv1.ProposeResponse{Reply: []byte("r"), Replayed: true, Revision: 9, Refused: wire.Detail(refused)})
	proposed, err := c.Propose(ctx, interrex.Proposal{Data: []byte("d")})
	if !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("a command that is refused: %v", err)
	}
	equal("propose", proposed, interrex.Answer[[]byte]{Value: []byte("r"), Replayed: true, Revision: 9}, nil)
	answer(&interrexv1.GroupResponse{Replayed: true, Revision: 9})
	group, err := c.Group(ctx, []proto.Message{&interrexv1.ClaimRequest{}}, client.Options{})
	equal("group", group, interrex.Answer[[]proto.Message]{Replayed: true, Revision: 9}, err)
}

func TestAListOfKeysGoesOnToItsEnd(t *testing.T) {
	a := startAgent(t)
	page := func(key, next string) *interrexv1.Answer {
		r := wire.Resource(interrex.Resource{ID: wire.ValueID("", key), Version: "7", Data: value(t, "v")})
		return answered(&interrexv1.ResourceServiceListResponse{Items: []*interrexv1.Resource{r}, NextPageToken: next, Revision: 9})
	}
	a.set(func(a *agent) {
		a.answer = func(op *operation) *interrexv1.Answer {
			if op.request.(*interrexv1.ResourceServiceListRequest).GetPageToken() == "more" {
				return page("b", "")
			}
			return page("a", "more")
		}
	})
	all, revision, err := client.KV{By: dial(t, client.Config{}, a)}.List(t.Context(), "", interrex.ReadOptions{})
	if err != nil || revision != 9 || len(all) != 2 || all[0].Key != "a" || all[1].Key != "b" || string(all[1].Value) != "v" || all[1].Version != "7" {
		t.Errorf("%+v at %d, %v", all, revision, err)
	}
}

func TestAnErrorNamesAKeyAsItsUserWroteIt(t *testing.T) {
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(*operation) *interrexv1.Answer {
			e := interrex.Errorf(interrex.ErrCASFailure, "cannot write %s: it is newer", wire.ValueID("team", "a/b"))
			return &interrexv1.Answer{Result: &interrexv1.Answer_Error{Error: wire.Detail(e)}}
		}
	})
	kv := client.KV{By: dial(t, client.Config{}, a), Namespace: "team"}
	_, get := kv.Get(t.Context(), "a/b", interrex.ReadOptions{})
	_, put := kv.Put(t.Context(), "a/b", nil, "", client.Options{})
	_, cleared := kv.Clear(t.Context(), "a", client.Options{})
	for what, err := range map[string]error{"get": get, "put": put, "delete": kv.Delete(t.Context(), "a/b", "", client.Options{}), "clear": cleared} {
		if err == nil || err.Error() != "cas failure: cannot write key a/b: it is newer" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
