package featuretests

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/interrex/interrex/interrextest"
)

// of returns an exchange for a method of a service.
func of(service, method, name, body string) exchange {
	return exchange{name: name, method: "/interrex.v1." + service + "/" + method, body: body}
}

func TestResourcesOnTheWireStay(t *testing.T) {
	t.Parallel()
	const (
		typ  = `"type":{"group":"test","group_version":"v1","kind":"Server"}`
		web  = `"id":{` + typ + `,"tenancy":{"partition":"default","namespace":"prod"},"name":"web","uid":"u1"}`
		disk = `"id":{` + typ + `,"tenancy":{"namespace":"prod"},"name":"disk","uid":"u2"}`
		data = `"data":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"port":80}}`
	)
	r := func(method, name, body string) exchange { return of("ResourceService", method, name, body) }
	odd := r("Write", "write of an unknown type of data", `{"resource":{"id":{`+typ+`,"name":"odd","uid":"u3"},"data":{"@type":"type.example/None","value":"AQI="}}}`)
	odd.edit = func(*http.Request) {}
	stays(t, "resources", []exchange{
		r("Write", "write", `{"resource":{`+web+`,"metadata":{"by":"ann"},`+data+`},"request_id":"one"}`),
		r("Write", "write that is repeated", `{"resource":{`+web+`,"metadata":{"by":"ann"},`+data+`},"request_id":"one","attempt":1}`),
		r("Write", "write of what exists", `{"resource":{`+web+`}}`),
		r("Write", "write of a version", `{"resource":{`+web+`,"version":"2"}}`),
		r("Write", "write of an old version", `{"resource":{`+web+`,"version":"2"}}`),
		r("Write", "write over what is stored", `{"resource":{`+web+`,`+data+`},"overwrite":true}`),
		r("Write", "write under another uid", strings.Replace(`{"resource":{`+web+`},"overwrite":true}`, "u1", "u9", 1)),
		r("Write", "write with an owner", `{"resource":{`+disk+`,"owner":{`+typ+`,"tenancy":{"namespace":"prod"},"name":"web"}}}`),
		r("Write", "write with an owner that is not there", `{"resource":{`+strings.Replace(disk, "disk", "new", 1)+`,"owner":{`+typ+`,"name":"none"}}}`),
		r("Write", "write with the lease of nobody", `{"resource":{`+strings.Replace(disk, "disk", "new", 1)+`,"owner_lease":{"key":"jobs/a","token":"1"}}}`),
		r("Write", "write of nothing", `{}`),
		r("Read", "read", `{`+web+`}`),
		r("Read", "eventual read", `{`+web+`,"consistency":"CONSISTENCY_EVENTUAL","min_revision":"2"}`),
		r("Read", "read under another uid", strings.Replace(`{`+web+`}`, "u1", "u9", 1)),
		r("Write", "strict write", strings.Replace(`{"resource":{`+disk+`,"generation":"g1"},"strict":true}`, "disk", "strict", 1)),
		r("Read", "read in another group version", `{"id":{`+strings.Replace(typ, "v1", "v2", 1)+`,"tenancy":{"namespace":"prod"},"name":"strict"}}`),
		r("Read", "read of what is not there", `{"id":{`+typ+`,"name":"none"}}`),
		r("Read", "read of no type", `{"id":{"name":"none"}}`),
		r("List", "list", `{`+typ+`,"tenancy":{"namespace":"*"}}`),
		r("List", "list of names", `{`+typ+`,"tenancy":{"namespace":"prod"},"names_only":true}`),
		r("List", "first page", `{`+typ+`,"tenancy":{"namespace":"prod"},"page_size":1}`),
		r("List", "second page", `{`+typ+`,"tenancy":{"namespace":"prod"},"page_size":1,"page_token":"<page>"}`),
		r("List", "list with too large a page", `{`+typ+`,"page_size":1001}`),
		r("ListByOwner", "list by owner", `{"owner":{`+typ+`,"tenancy":{"namespace":"prod"},"name":"web","uid":"u1"}}`),
		r("ListByOwner", "list by an owner without its uid", `{"owner":{`+typ+`,"name":"web"}}`),
		r("Check", "check", `{`+web+`}`),
		r("Check", "check that there is none", `{`+web+`,"version":"0"}`),
		r("Check", "check of an old version", `{`+web+`,"version":"2"}`),
		r("Delete", "delete of an old version", `{`+web+`,"version":"2"}`),
		r("Delete", "delete", `{`+web+`,"request_id":"gone"}`),
		r("Delete", "delete that is repeated", `{`+web+`,"request_id":"gone","attempt":1}`),
		r("Delete", "delete of what is not there", `{`+web+`}`),
		r("Clear", "clear", `{`+typ+`,"tenancy":{"namespace":"prod"},"name_prefix":"d"}`),
		r("Clear", "clear of all namespaces", `{`+typ+`,"tenancy":{"namespace":"*"}}`),
		odd,
	})
}

func TestChangesOnTheWireStay(t *testing.T) {
	t.Parallel()
	c := func(method, name, body string) exchange { return of("ChangeService", method, name, body) }
	stays(t, "changes", []exchange{
		c("Append", "append", `{"data":{"app":"web"},"tags":["deploy"],"request_id":"one"}`),
		c("Append", "append that is repeated", `{"data":{"app":"web"},"tags":["deploy"],"request_id":"one","attempt":1}`),
		c("Append", "append as a text", `{"json":"[1, 2.50, null]"}`),
		c("Append", "append of null", `{"data":null}`),
		c("Append", "append of nothing", `{}`),
		c("Append", "append of both", `{"data":1,"json":"1"}`),
		c("Append", "append of a number that no double holds", `{"json":"1e999"}`),
		c("Append", "append of a long tag", `{"data":1,"tags":["`+strings.Repeat("x", 129)+`"]}`),
		c("Append", "append behind a fence that is down", `{"data":1,"fence":{"key":"jobs/a","token":"1"}}`),
		{name: "claim", method: "Claim", body: `{"key":"jobs/a","holder":"ann","ttl":"3600s"}`},
		c("Get", "get", `{"revision":"2"}`),
		c("Get", "get of what is not there", `{"revision":"99"}`),
		c("List", "list", `{"tags":["deploy"]}`),
		c("List", "list since a revision", `{"since":"2","limit":1,"kinds":["user"]}`),
		c("List", "list of a prefix", `{"prefix":"none/"}`),
		c("List", "list that waits", `{"since":"5","block":"0.010s"}`),
		c("List", "list since a revision to come", `{"since":"1000000"}`),
		c("List", "list of too many", `{"limit":1001}`),
		c("List", "list of an unknown kind", `{"kinds":["lease.nope"]}`),
		c("List", "list of changes of members", `{"kinds":["member.added","member.changed","member.removed"]}`),
		c("List", "list that waits too long", `{"block":"601s"}`),
	})
}

func TestWebhooksOnTheWireStay(t *testing.T) {
	t.Parallel()
	w := func(method, name, body string) exchange { return of("WebhookService", method, name, body) }
	const guard = `{"webhook":{"name":"guard","url":"http://127.0.0.1:1/","kinds":["lease.claimed"],"prefixes":["prod/"],"headers":{"Authorization":"x"},"timeout":"0.5s"}%s}`
	stays(t, "webhooks", []exchange{
		w("Set", "set", fmt.Sprintf(guard, `,"request_id":"one"`)),
		w("Set", "set that is repeated", fmt.Sprintf(guard, `,"request_id":"one","attempt":1`)),
		w("Set", "set anew", fmt.Sprintf(guard, `,"secret":"0123456789abcdef"`)),
		w("Set", "set of one that is called after", `{"webhook":{"name":"audit","url":"https://a.example/in","when":"after","kinds":["member.added"]}}`),
		w("Set", "set of a dry run after", `{"webhook":{"name":"audit","url":"https://a.example/in","when":"after","dry_run":true}}`),
		w("Set", "set of nothing", `{}`),
		w("Set", "set of no URL", `{"webhook":{"name":"x","url":"ftp://x/"}}`),
		w("Set", "set of an unknown kind", `{"webhook":{"name":"x","url":"http://x/","kinds":["lease.nope"]}}`),
		w("Set", "set of a kind that is never sent before", `{"webhook":{"name":"x","url":"http://x/","kinds":["lease.expired"]}}`),
		w("Set", "set of a short timeout", `{"webhook":{"name":"x","url":"http://x/","timeout":"0.01s"}}`),
		w("Set", "set of a short secret", `{"webhook":{"name":"x","url":"http://x/"},"secret":"short"}`),
		w("Get", "get", `{"name":"guard"}`),
		w("Get", "get of what is not there", `{"name":"none"}`),
		w("List", "list", `{}`),
		w("Test", "test of one that does not answer", `{"name":"guard"}`),
		w("Test", "test of what is not there", `{"name":"none"}`),
		{name: "claim that cannot be asked about", method: "Claim", body: `{"key":"prod/a","holder":"ann","ttl":"3600s"}`},
		w("Delete", "delete", `{"name":"guard","request_id":"gone"}`),
		w("Delete", "delete of what is not there", `{"name":"none"}`),
	})
}

func TestGroupsOnTheWireStay(t *testing.T) {
	t.Parallel()
	const claim = `{"@type":"type.googleapis.com/interrex.v1.ClaimRequest","key":"jobs/%s","holder":"ann","ttl":"3600s"}`
	const add = `{"@type":"type.googleapis.com/interrex.v1.ChangeServiceAppendRequest","data":{"n":1}}`
	g := func(name, operations, more string) exchange {
		return of("StateService", "Group", name, `{"operations":[`+operations+`]`+more+`}`)
	}
	a, b := fmt.Sprintf(claim, "a"), fmt.Sprintf(claim, "b")
	stays(t, "groups", []exchange{
		g("group", a+","+add, `,"request_id":"one"`),
		g("group that is repeated", a+","+add, `,"request_id":"one","attempt":1`),
		g("group under the id of another", b, `,"request_id":"one"`),
		g("group whose second operation is refused", b+","+a, ""),
		g("group that names a key twice", b+","+b, ""),
		g("group of nothing", "", ""),
		g("group with an extend", `{"@type":"type.googleapis.com/interrex.v1.ExtendRequest","key":"jobs/a","token":"1"}`, ""),
		g("group with what does not write", `{"@type":"type.googleapis.com/interrex.v1.GetRequest","key":"jobs/a"}`, ""),
		g("group behind a fence that is down", b, `,"fence":{"key":"jobs/b","token":"1"}`),
		{name: "nothing of what was refused is there", method: "Get", body: `{"key":"jobs/b"}`},
		of("StateService", "Propose", "proposal to a table of interrex's own", `{"table":1,"data":"AA=="}`),
		of("StateService", "Propose", "proposal to no table", `{"table":300,"data":"AA=="}`),
	})
}

func TestSettingsAndStatusOnTheWireStay(t *testing.T) {
	t.Parallel()
	s := func(method, name, body string) exchange { return of("StateService", method, name, body) }
	stays(t, "settings", []exchange{
		s("GetSettings", "settings", `{}`),
		s("SetSettings", "set a setting", `{"values":{"changes.keep-count":"1000"}}`),
		s("SetSettings", "set what is none", `{"values":{"changes.nope":"1"}}`),
		s("SetSettings", "set out of bounds", `{"values":{"changes.keep-count":"-1"}}`),
		s("SetSettings", "set nothing", `{}`),
		s("GetSettings", "settings that are eventual", `{"consistency":"CONSISTENCY_EVENTUAL"}`),
		of("EngineService", "Status", "status", `{}`),
		of("EngineService", "Config", "configuration, which is for the socket alone", `{}`),
		of("EngineService", "Reload", "reload, which is for the socket alone", `{}`),
	})
}

// plain is one request of plain HTTP: "METHOD PATH", its headers, and a body.
type plain struct {
	line    string
	headers []string
	body    string
}

func TestPlainHTTPStays(t *testing.T) {
	t.Parallel()
	const isJSON = "Content-Type: application/json"
	url := apiOf(interrextest.Start(t, withAPI(nil)))
	var out strings.Builder
	for _, x := range []plain{
		{line: "PUT /kv/a/b", body: "hello"},
		{line: "PUT /kv/a/b", headers: []string{"If-None-Match: *"}, body: "again"},
		{line: "PUT /kv/a/b", headers: []string{`If-Match: "2"`, "Interrex-Request-Id: one"}, body: "next"},
		{line: "PUT /kv/a/b", headers: []string{`If-Match: "2"`, "Interrex-Request-Id: one", "Interrex-Attempt: 1"}, body: "next"},
		{line: "PUT /kv/raw", body: "\xff\x00"},
		{line: "PUT /kv/a", headers: []string{"Interrex-Fence: jobs/a 7"}, body: "x"},
		{line: "GET /kv/a/b"},
		{line: "GET /kv/a/b?json"},
		{line: "GET /kv/raw?json"},
		{line: "GET /kv/none"},
		{line: "GET /kv/a/b?since=3&block=10ms"},
		{line: "GET /kv/a/b?nope=1"},
		{line: "GET /kv?prefix=a"},
		{line: "GET /kv?prefix=&separator=/"},
		{line: "GET /kv?page_size=1"},
		{line: "POST /kv", body: `{"operations":[{"check":{"key":"a/b","version":"3"}},{"put":{"key":"c","value":"1","version":"0"}}]}`},
		{line: "POST /kv", body: `{"operations":[{"check":{"key":"none"}}]}`},
		{line: "POST /kv", body: `{"operations":[{}]}`},
		{line: "DELETE /kv/raw", headers: []string{`If-Match: "9"`}},
		{line: "DELETE /kv/raw"},
		{line: "DELETE /kv"},
		{line: "DELETE /kv?prefix=a"},
		{line: "PATCH /kv/a"},
		{line: "POST /changes", headers: []string{isJSON}, body: `{"data":{"app":"web"},"tags":["deploy"]}`},
		{line: "POST /changes", headers: []string{isJSON}, body: `[1,2.50]`},
		{line: "POST /changes", headers: []string{isJSON}, body: `{"data":1,"more":2}`},
		{line: "POST /changes", body: `1`},
		{line: "GET /changes"},
		{line: "GET /changes?tag=deploy&limit=1"},
		{line: "GET /changes?kind=resource.written&since=4"},
		{line: "GET /changes?since=1000000"},
		{line: "GET /changes?limit=x"},
		{line: "GET /changes/8"},
		{line: "GET /changes/99"},
		{line: "PUT /changes"},
		{line: "GET /livez"},
		{line: "GET /readyz?verbose"},
		{line: "GET /leader"},
	} {
		x.write(t, &out, url)
	}
	golden(t, "plain", out.String())
}

// write makes the request, and records it with its answer.
func (x plain) write(t *testing.T, out *strings.Builder, url string) {
	t.Helper()
	method, path, _ := strings.Cut(x.line, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(x.body))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(out, "> %s\n", x.line)
	for _, h := range x.headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		fmt.Fprintf(out, "> %s\n", h)
	}
	if x.body != "" {
		fmt.Fprintf(out, "> %q\n", x.body)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(out, "< %d\n", answer.StatusCode)
	for _, name := range []string{"Allow", "Content-Type", "Etag", "Interrex-Revision", "Interrex-Version"} {
		if value := answer.Header.Get(name); value != "" {
			fmt.Fprintf(out, "< %s: %s\n", name, value)
		}
	}
	fmt.Fprintf(out, "< %q\n\n", steady(compact(body)))
}
