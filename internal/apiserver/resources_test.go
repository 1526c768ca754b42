package apiserver

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

const serverType = `"type":{"group":"demo","group_version":"v1","kind":"Server"}`

// thing is a resource with every field.
func thing(name string) *interrexv1.Resource {
	r := interrex.ResourceID{Type: interrex.ResourceType{Group: "demo", GroupVersion: "v1", Kind: "Server"}, Name: name}.WithDefaults()
	return &interrexv1.Resource{Id: wire.ResourceID(r), Data: &anypb.Any{TypeUrl: "example.com/demo.Unknown", Value: []byte("hello")}}
}

// Through a follower, in JSON: unknown data comes back unchanged.
func TestResourcesAreServedByEveryAgentInJSON(t *testing.T) {
	nodes := cluster(t, 3)
	for i, nd := range nodes {
		name := fmt.Sprint("r", i)
		id := `{` + serverType + `,"name":"` + name + `"}`
		r := nd.curl("ResourceService/Write", `{"resource":{"id":`+id+`,"metadata":{"a":"b"},"data":{"@type":"example.com/demo.Unknown","value":"aGVsbG8="}}}`)
		version, uid := r.at("resource", "version"), r.at("resource", "id", "uid")
		if r.status != 200 || version != r.at("revision") || len(fmt.Sprint(uid)) != 26 {
			t.Fatalf("%d: %s", r.status, r.body)
		}
		if again := nd.curl("ResourceService/Write", `{"resource":{"id":`+id+`}}`); again.kind() != "cas failure" || again.status != 409 {
			t.Errorf("%d: %s", again.status, again.body)
		}
		if other := nd.curl("ResourceService/Write", `{"resource":{"id":{`+serverType+`,"name":"`+name+`","uid":"x"},"version":"1"}}`); other.kind() != "wrong uid" {
			t.Errorf("%s", other.body)
		}
		read := nodes[(i+1)%3].curl("ResourceService/Read", `{"id":`+id+`}`)
		if data := read.at("resource", "data", "value"); data != "aGVsbG8=" || read.at("resource", "data", "@type") != "example.com/demo.Unknown" || read.at("resource", "metadata", "a") != "b" {
			t.Errorf("%s", read.body)
		}
		mismatch := nd.curl("ResourceService/Read", strings.Replace(`{"id":`+id+`}`, "v1", "v2", 1))
		if mismatch.kind() != "group version mismatch" || mismatch.at("details", 0, "debug", "stored") == nil {
			t.Errorf("%s", mismatch.body)
		}
		if gone := nd.curl("ResourceService/Read", `{"id":{`+serverType+`,"name":"`+name+`","uid":"x"}}`); gone.kind() != "not found" {
			t.Errorf("%s", gone.body)
		}
	}
	list := nodes[0].curl("ResourceService/List", `{`+serverType+`,"tenancy":{"partition":"*","namespace":"*"},"consistency":"CONSISTENCY_STRONG"}`)
	if items, _ := list.at("items").([]any); len(items) != 3 {
		t.Errorf("%s", list.body)
	}
	deleted := nodes[1].curl("ResourceService/Delete", `{"id":{`+serverType+`,"name":"nothing"}}`)
	if deleted.status != 200 || deleted.at("revision") != list.at("revision") {
		t.Errorf("%s", deleted.body)
	}
}

func TestAWriteThatIsRepeatedIsAnsweredAgain(t *testing.T) {
	nd := cluster(t, 1)[0]
	body := `{"resource":{"id":{` + serverType + `,"name":"web"},"data":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"a":1}}},"request_id":"mine","attempt":%d}`
	first := nd.curl("ResourceService/Write", fmt.Sprintf(body, 0))
	again := nd.curl("ResourceService/Write", fmt.Sprintf(body, 1))
	if again.at("replayed") != true || !reflect.DeepEqual(again.at("resource"), first.at("resource")) || first.at("resource", "data", "value", "a") != 1.0 {
		t.Errorf("%s\nthen %s", first.body, again.body)
	}
}

func TestListsOfResourcesArePaged(t *testing.T) {
	nd := cluster(t, 1)[0]
	owner := thing("owner")
	owner.Id.Uid = "o"
	for i := range 5 {
		m := thing(fmt.Sprint("r", i))
		m.Data.Value = make([]byte, 400<<10)
		if i > 0 {
			m.Owner = owner.Id
		}
		_, err := nd.call(t.Context(), op(0, interrexv1.ResourceServiceWriteProcedure, &interrexv1.ResourceServiceWriteRequest{Resource: m}))
		nd.must(err)
	}
	type page interface {
		GetItems() []*interrexv1.Resource
		GetNextPageToken() string
	}
	read := func(next func(token string) (page, error)) (names, sizes string) {
		t.Helper()
		for token := ""; ; {
			p, err := next(token)
			nd.must(err)
			for _, item := range p.GetItems() {
				names += item.GetId().GetName()
			}
			sizes += fmt.Sprint(len(p.GetItems()))
			if token = p.GetNextPageToken(); token == "" {
				return names, sizes
			}
		}
	}
	list := func(size uint32) (names, sizes string) {
		return read(func(token string) (page, error) {
			a, err := nd.call(t.Context(), op(0, interrexv1.ResourceServiceListProcedure, &interrexv1.ResourceServiceListRequest{Type: owner.Id.Type, PageSize: size, PageToken: token}))
			return as[interrexv1.ResourceServiceListResponse](t, a), err
		})
	}
	if names, sizes := list(0); names != "r0r1r2r3r4" || sizes != "32" {
		t.Errorf("%s in pages of %s", names, sizes)
	}
	if names, sizes := list(2); names != "r0r1r2r3r4" || sizes != "221" {
		t.Errorf("%s in pages of %s", names, sizes)
	}
	names, sizes := read(func(token string) (page, error) {
		a, err := nd.call(t.Context(), op(0, interrexv1.ResourceServiceListByOwnerProcedure, &interrexv1.ResourceServiceListByOwnerRequest{Owner: owner.Id, PageSize: 3, PageToken: token}))
		return as[interrexv1.ResourceServiceListByOwnerResponse](t, a), err
	})
	if names != "r1r2r3r4" || sizes != "31" {
		t.Errorf("%s in pages of %s", names, sizes)
	}
}

func TestWhatIsWrongWithARequestForResourcesIsSaid(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("db", "ann") // lists are eventual: they are refused before anything is applied
	for _, c := range []struct{ method, body, want string }{
		{"Write", `{}`, "resource: missing"},
		{"Write", `{"resource":{"id":{"name":"x"}}}`, "type: group: 1 to 63 bytes are allowed, not 0"},
		{"Write", `{"resource":{"id":{` + serverType + `,"name":"x"},"owner_lease":{"key":"me"}}}`, "owner_lease: token: 0 is not a token"},
		{"Write", `{"resource":{"id":{` + serverType + `,"name":"x"},"metadata":{"":"x"}}}`, "metadata: a key is empty"},
		{"Write", `{"resource":{"id":{` + serverType + `,"name":"x"},"data":{"a":1}}}`, `of its message, such as {"@type"`},
		{"Read", `{"id":{` + serverType + `}}`, "name: 1 to 512 bytes are allowed, not 0"},
		{"Delete", `{"id":{` + serverType + `,"name":"a\u0000b"}}`, "unprintable"},
		{"List", `{` + serverType + `,"tenancy":{"partition":"a*"}}`, "tenancy: partition"},
		{"List", `{` + serverType + `,"page_size":1001}`, "page_size: 1001 is more than 1000"},
		{"List", `{` + serverType + `,"page_token":"%"}`, `page_token: "%" is not a token of this list`},
		{"List", `{` + serverType + `,"page_token":"garbage"}`, `page_token: "garbage" is not a token of this list`},
		{"List", `{` + serverType + `,"names_only":true,"page_token":"garbage"}`, `page_token: "garbage" is not a token of this list`},
		{"ListByOwner", `{"owner":{` + serverType + `,"name":"x"}}`, "owner: uid: missing"},
	} {
		if r := nd.curl("ResourceService/"+c.method, c.body); r.kind() != "invalid" || r.status != 400 || !strings.Contains(r.body, strings.ReplaceAll(c.want, `"`, `\"`)) {
			t.Errorf("%s %s: %s", c.method, c.body, r.body)
		}
	}
}

func TestAPageTokenIsOfItsListAlone(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, name := range []string{"a1", "a2", "b1"} {
		nd.curl("ResourceService/Write", `{"resource":{"id":{`+serverType+`,"name":"`+name+`"}}}`)
	}
	token := nd.curl("ResourceService/List", `{`+serverType+`,"name_prefix":"a","page_size":1}`).at("next_page_token").(string)
	nd.curl("ResourceService/Delete", `{"id":{`+serverType+`,"name":"a1"}}`)
	for rest, want := range map[string]string{
		`"name_prefix":"a"`:                           `"name":"a2"`, // also when the row of the token is gone
		`"name_prefix":""`:                            `"name":"a2"`,
		`"tenancy":{"namespace":"*"}`:                 `"name":"b1"`,
		`"name_prefix":"b"`:                           "page_token",
		`"tenancy":{"namespace":"elsewhere"}`:         "page_token",
		`"tenancy":{"partition":"x","namespace":"*"}`: "page_token",
	} {
		if r := nd.curl("ResourceService/List", `{`+serverType+`,`+rest+`,"page_token":"`+token+`"}`); !strings.Contains(r.body, want) || (r.kind() == "invalid") != (want == "page_token") {
			t.Errorf("%s: %s", rest, r.body)
		}
	}
}

func TestASnapshotOfResourcesIsInItsOrderPartByPart(t *testing.T) {
	nd := cluster(t, 1)[0]
	want := []string{"a/x", "a/x-y", "a/x/y", "a-b/w", "b/z"} // by namespace, then by name
	for _, one := range want {
		namespace, name, _ := strings.Cut(one, "/")
		nd.curl("ResourceService/Write", fmt.Sprintf(`{"resource":{"id":{%s,"tenancy":{"namespace":%q},"name":%q}}}`, serverType, namespace, name))
	}
	feed, err := services.Resources{Table: nd.things}.Service().Watches[0].Declared.Feed(&interrexv1.ResourceServiceWatchRequest{
		Type:    wire.ResourceType(interrex.ResourceType{Group: "demo", Kind: "Server"}),
		Tenancy: wire.Tenancy(interrex.Tenancy{Partition: interrex.Wildcard, Namespace: interrex.Wildcard}),
	}, nd.state)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	last, more := "", true
	for more && len(got) <= len(want) {
		rows := feed.Snapshot.Rows(last, 2)
		for key, e := range rows.All {
			id := e.(*interrexv1.ResourceEvent).GetResource().GetId()
			got = append(got, id.GetTenancy().GetNamespace()+"/"+id.GetName())
			if last != "" && feed.Snapshot.Compare(last, key) >= 0 {
				t.Errorf("%s stands behind %s", key, last)
			}
			last = key
		}
		more = rows.More
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAnEventOfAResourceIsItsJSON(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.curl("ResourceService/Write", `{"resource":{"id":{`+serverType+`,"name":"web"}}}`)
	var rows []*resource.Record
	nd.things.Read(func(v resource.ReadView) {
		rows, _ = v.List(interrex.ResourceSelection{Type: interrex.ResourceType{Group: "demo", Kind: "Server"}, Tenancy: interrex.Tenancy{}.WithDefaults()}, "", 0)
	})
	data := services.Resources{Table: nd.things}.Service().Data
	text, err := data(&state.Event{Value: rows[0]}, nd.state)
	if err != nil || !strings.Contains(string(text), `"name":"web"`) {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := data(&state.Event{}, nd.state); err != nil || string(text) != "null" {
		t.Errorf("%s, %v", text, err)
	}
}
