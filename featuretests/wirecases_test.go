package featuretests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// leaseExchanges are requests of every method, and for every refusal that one agent
// can make, in an order in which each answer is certain: leases that may expire come
// last.
func leaseExchanges() []exchange {
	return slices.Concat(
		claimExchanges(), claimRefusals(), extendExchanges(), revokeExchanges(), transferExchanges(),
		pinExchanges(), pinRefusals(), readExchanges(), listExchanges(), plainExchanges(), timedExchanges(),
	)
}

func claimExchanges() []exchange {
	const full = `{"key":"jobs/a","holder":"ann","ttl":"3600s","request_id":"one","attempt":%d,"metadata":{"address":"db1:80"}}`
	return []exchange{
		{name: "claim", method: "Claim", body: fmt.Sprintf(full, 2)},
		{name: "claim that is repeated", method: "Claim", body: fmt.Sprintf(full, 3)},
		{name: "claim under the id of another", method: "Claim", body: `{"key":"jobs/a","holder":"bob","request_id":"one"}`},
		{name: "claim with a ttl in hours", method: "Claim", body: `{"key":"plain","holder":"ann","ttl":"24h"}`, edit: func(*http.Request) {}},
		{name: "claim in the default namespace with the longest ttl", method: "Claim", body: `{"key":"plain","holder":"ann","ttl":"86400s"}`},
		{name: "claim with names in camel case", method: "Claim", body: `{"key":"jobs/camel","holder":"ann","ttl":"3600s","requestId":"camel"}`},
		{name: "claim with a zero wait", method: "Claim", body: `{"key":"jobs/zero","holder":"ann","ttl":"3600s","wait":"0s"}`},
		{name: "claim of a free name with a wait", method: "Claim", body: `{"key":"jobs/wait","holder":"ann","ttl":"3600s","wait":"10s"}`},
		{name: "claim of what is held", method: "Claim", body: `{"key":"jobs/a","holder":"bob"}`},
		{name: "claim of what the caller holds", method: "Claim", body: `{"key":"jobs/a","holder":"ann"}`},
		{name: "claim whose wait runs out", method: "Claim", body: `{"key":"jobs/a","holder":"bob","wait":"0.050s"}`},
		{name: "takeover", method: "Claim", body: `{"key":"jobs/a","holder":"ann","ttl":"7200s","takeover":true}`},
		{name: "takeover of another's lease", method: "Claim", body: `{"key":"jobs/a","holder":"bob","takeover":true}`},
		{name: "takeover of a free name", method: "Claim", body: `{"key":"jobs/taken","holder":"ann","ttl":"3600s","takeover":true}`},
		{name: "claim behind a fence", method: "Claim", body: `{"key":"jobs/fenced","holder":"ann","ttl":"3600s","fence":{"key":"jobs/a","token":"<jobs/a>"}}`},
		{name: "claim behind a fence that is down", method: "Claim", body: `{"key":"jobs/f","holder":"ann","fence":{"key":"jobs/a","token":"1000000"}}`},
		{name: "claim behind a fence that nobody holds", method: "Claim", body: `{"key":"jobs/f","holder":"ann","fence":{"key":"jobs/free","token":"1"}}`},
		{name: "claim of a lease that is over by then", method: "Claim", body: `{"key":"jobs/over","holder":"ann","ttl":"3600s","request_id":"over"}`},
		{name: "its end", method: "Revoke", body: `{"key":"jobs/over","token":"<jobs/over>"}`},
		{name: "claim that is repeated after its lease has ended", method: "Claim", body: `{"key":"jobs/over","holder":"ann","ttl":"3600s","request_id":"over","attempt":1}`},
	}
}

func claimRefusals() []exchange {
	claim := func(name, fields string) exchange {
		return exchange{name: "claim with " + name, method: "Claim", body: "{" + fields + "}"}
	}
	long := strings.Repeat("x", 1000)
	return []exchange{
		claim("no fields", ``),
		claim("no key", `"holder":"ann"`),
		claim("an empty key", `"key":"","holder":"ann"`),
		claim("an empty namespace", `"key":"/b","holder":"ann"`),
		claim("an empty name", `"key":"a/","holder":"ann"`),
		claim("a capital in the namespace", `"key":"A/b","holder":"ann"`),
		claim("a dot in front of the namespace", `"key":".a/b","holder":"ann"`),
		claim("a long namespace", `"key":"`+long[:64]+`/b","holder":"ann"`),
		claim("a long name", `"key":"a/`+long[:513]+`","holder":"ann"`),
		claim("an unprintable name", `"key":"a/\u0007","holder":"ann"`),
		claim("no holder", `"key":"a/b"`),
		claim("a long holder", `"key":"a/b","holder":"`+long[:257]+`"`),
		claim("an unprintable holder", `"key":"a/b","holder":"a\nb"`),
		claim("a short ttl", `"key":"a/b","holder":"ann","ttl":"0.199s"`),
		claim("a long ttl", `"key":"a/b","holder":"ann","ttl":"86400.000000001s"`),
		claim("a zero ttl", `"key":"a/b","holder":"ann","ttl":"0s"`),
		claim("a negative ttl", `"key":"a/b","holder":"ann","ttl":"-1s"`),
		claim("a negative wait", `"key":"a/b","holder":"ann","wait":"-1s"`),
		claim("a long wait", `"key":"a/b","holder":"ann","wait":"3601s"`),
		claim("a long request id", `"key":"a/b","holder":"ann","request_id":"`+long[:65]+`"`),
		claim("a number for its id, which without a mark is an id like others", `"key":"a/n","holder":"ann","ttl":"3600s","request_id":"probe.5000"`),
		claim("much metadata", `"key":"a/b","holder":"ann","metadata":{"m":"`+strings.Repeat("x", 4096)+`"}`),
		claim("an empty key of metadata", `"key":"a/b","holder":"ann","metadata":{"":"x"}`),
		claim("a fence without a token", `"key":"a/b","holder":"ann","fence":{"key":"jobs/a"}`),
		claim("a fence without a key", `"key":"a/b","holder":"ann","fence":{"token":"1"}`),
		claim("several faults", `"key":"A/b","ttl":"0s","wait":"-1s"`),
	}
}

func extendExchanges() []exchange {
	return []exchange{
		{name: "extend", method: "Extend", body: `{"key":"jobs/a","token":"<jobs/a>","ttl":"10800s"}`},
		{name: "extend by the lease's own ttl", method: "Extend", body: `{"key":"jobs/a","token":"<jobs/a>"}`},
		{name: "extend under an old token", method: "Extend", body: `{"key":"jobs/a","token":"1"}`},
		{name: "extend of what nobody holds", method: "Extend", body: `{"key":"jobs/free","token":"1"}`},
		{name: "extend without a token", method: "Extend", body: `{"key":"jobs/a"}`},
		{name: "extend of a malformed key", method: "Extend", body: `{"key":"A/b","token":"1"}`},
		{name: "extend by a short ttl", method: "Extend", body: `{"key":"jobs/a","token":"<jobs/a>","ttl":"0.001s"}`},
		{name: "extend by a zero ttl", method: "Extend", body: `{"key":"jobs/a","token":"<jobs/a>","ttl":"0s"}`},
		{name: "extend by a negative ttl", method: "Extend", body: `{"key":"jobs/a","token":"<jobs/a>","ttl":"-5s"}`},
	}
}

func revokeExchanges() []exchange {
	const once = `{"key":"jobs/wait","token":"<jobs/wait>","request_id":"end","attempt":%d}`
	return []exchange{
		{name: "revoke", method: "Revoke", body: fmt.Sprintf(once, 0)},
		{name: "revoke that is repeated", method: "Revoke", body: fmt.Sprintf(once, 1)},
		{name: "revoke under the id of another", method: "Revoke", body: `{"key":"jobs/zero","token":"<jobs/zero>","request_id":"end"}`},
		{name: "revoke by force", method: "Revoke", body: `{"key":"jobs/zero","force":true}`},
		{name: "revoke by force of what nobody holds", method: "Revoke", body: `{"key":"jobs/zero","force":true}`},
		{name: "revoke under an old token", method: "Revoke", body: `{"key":"jobs/a","token":"1"}`},
		{name: "revoke of what nobody holds", method: "Revoke", body: `{"key":"jobs/free","token":"1"}`},
		{name: "revoke without a token", method: "Revoke", body: `{"key":"jobs/a"}`},
		{name: "revoke of a malformed key", method: "Revoke", body: `{"key":"","token":"1"}`},
		{name: "revoke with a long request id", method: "Revoke", body: `{"key":"jobs/a","token":"1","request_id":"` + strings.Repeat("x", 65) + `"}`},
	}
}

func transferExchanges() []exchange {
	const once = `{"key":"jobs/camel","token":"<first of jobs/camel>","to":"bob","ttl":"7200s","request_id":"over to bob","attempt":%d}`
	return []exchange{
		{name: "transfer", method: "Transfer", body: fmt.Sprintf(once, 0)},
		{name: "transfer that is repeated", method: "Transfer", body: fmt.Sprintf(once, 1)},
		{name: "transfer under the id of another", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>","to":"eve","request_id":"over to bob"}`},
		{name: "transfer with the lease's own ttl", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>","to":"cat","request_id":"over to cat"}`},
		{name: "transfer that is repeated after the next one", method: "Transfer", body: fmt.Sprintf(once, 2)},
		{name: "transfer under an old token", method: "Transfer", body: `{"key":"jobs/camel","token":"1","to":"bob"}`},
		{name: "transfer of what nobody holds", method: "Transfer", body: `{"key":"jobs/free","token":"1","to":"bob"}`},
		{name: "transfer without a token", method: "Transfer", body: `{"key":"jobs/camel","to":"bob"}`},
		{name: "transfer to nobody", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>"}`},
		{name: "transfer to a long holder", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>","to":"` + strings.Repeat("x", 257) + `"}`},
		{name: "transfer with a short ttl", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>","to":"bob","ttl":"0.1s"}`},
		{name: "transfer with a zero ttl", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>","to":"bob","ttl":"0s"}`},
		{name: "transfer with a long request id", method: "Transfer", body: `{"key":"jobs/camel","token":"1","to":"bob","request_id":"` + strings.Repeat("x", 65) + `"}`},
	}
}

func pinExchanges() []exchange {
	const once = `{"key":"jobs/a","owner":"ops","reason":"upgrade","request_id":"pin","attempt":%d}`
	return []exchange{
		{name: "pin", method: "Pin", body: fmt.Sprintf(once, 0)},
		{name: "pin that is repeated", method: "Pin", body: fmt.Sprintf(once, 1)},
		{name: "pin of the same owner", method: "Pin", body: `{"key":"jobs/a","owner":"ops","reason":"backup"}`},
		{name: "pin for a while", method: "Pin", body: `{"key":"jobs/a","owner":"dba","for":"3600s"}`},
		{name: "claim of what is pinned", method: "Claim", body: `{"key":"jobs/a","holder":"bob"}`},
		{name: "claim of what is pinned whose wait runs out", method: "Claim", body: `{"key":"jobs/a","holder":"bob","wait":"0.050s"}`},
		{name: "extend of what is pinned", method: "Extend", body: `{"key":"jobs/a","token":"<jobs/a>"}`},
		{name: "get of what is pinned", method: "Get", body: `{"key":"jobs/a"}`},
		{name: "unpin", method: "Unpin", body: `{"key":"jobs/a","owner":"ops","request_id":"unpin"}`},
		{name: "unpin that is repeated", method: "Unpin", body: `{"key":"jobs/a","owner":"ops","request_id":"unpin","attempt":1}`},
		{name: "unpin of the last pin", method: "Unpin", body: `{"key":"jobs/a","owner":"dba"}`},
		{name: "pin before a transfer", method: "Pin", body: `{"key":"jobs/camel","owner":"ops"}`},
		{name: "transfer of what is pinned", method: "Transfer", body: `{"key":"jobs/camel","token":"<jobs/camel>","to":"dan","ttl":"0.2s"}`},
		{name: "unpin after a transfer", method: "Unpin", body: `{"key":"jobs/camel","owner":"ops"}`},
	}
}

func pinRefusals() []exchange {
	long := strings.Repeat("x", 1025)
	all := []exchange{
		{name: "pin of what nobody holds", method: "Pin", body: `{"key":"jobs/free","owner":"ops"}`},
		{name: "pin of a malformed key", method: "Pin", body: `{"key":"a b/c","owner":"ops"}`},
		{name: "pin without an owner", method: "Pin", body: `{"key":"jobs/a"}`},
		{name: "pin of a long owner", method: "Pin", body: `{"key":"jobs/a","owner":"` + long[:257] + `"}`},
		{name: "pin with a long reason", method: "Pin", body: `{"key":"jobs/a","owner":"ops","reason":"` + long + `"}`},
		{name: "pin for a negative time", method: "Pin", body: `{"key":"jobs/a","owner":"ops","for":"-1s"}`},
		{name: "pin for no time", method: "Pin", body: `{"key":"jobs/a","owner":"ops","for":"0s"}`},
		{name: "pin for a long time", method: "Pin", body: `{"key":"jobs/a","owner":"ops","for":"315576000000s"}`},
		{name: "pin with a long request id", method: "Pin", body: `{"key":"jobs/a","owner":"ops","request_id":"` + long[:65] + `"}`},
		{name: "unpin of another's", method: "Unpin", body: `{"key":"jobs/a","owner":"eve"}`},
		{name: "unpin of what nobody holds", method: "Unpin", body: `{"key":"jobs/free","owner":"ops"}`},
		{name: "unpin without an owner", method: "Unpin", body: `{"key":"jobs/a"}`},
		{name: "unpin of a malformed key", method: "Unpin", body: `{"owner":"ops"}`},
		{name: "unpin with a long request id", method: "Unpin", body: `{"key":"jobs/a","owner":"ops","request_id":"` + long[:65] + `"}`},
	}
	for i := range 17 {
		all = append(all, exchange{name: fmt.Sprint("pin number ", i+1), method: "Pin", body: fmt.Sprintf(`{"key":"jobs/fenced","owner":"o%02d"}`, i)})
	}
	return all
}

func readExchanges() []exchange {
	return []exchange{
		{name: "get", method: "Get", body: `{"key":"jobs/a"}`},
		{name: "get that is strong", method: "Get", body: `{"key":"jobs/a","consistency":"CONSISTENCY_STRONG"}`},
		{name: "get that is strong, by number", method: "Get", body: `{"key":"jobs/a","consistency":2}`},
		{name: "get that is eventual", method: "Get", body: `{"key":"jobs/a","consistency":"CONSISTENCY_EVENTUAL"}`},
		{name: "get of a revision that is reached", method: "Get", body: `{"key":"jobs/a","consistency":"CONSISTENCY_EVENTUAL","min_revision":"<jobs/a>"}`},
		{name: "strong get of a revision that is reached", method: "Get", body: `{"key":"jobs/a","min_revision":"<jobs/a>"}`},
		{name: "get of a revision to come", method: "Get", body: `{"key":"jobs/a","consistency":"CONSISTENCY_EVENTUAL","min_revision":"1000000"}`},
		{name: "strong get of a revision to come", method: "Get", body: `{"key":"jobs/a","min_revision":"1000000"}`},
		{name: "stated strong get of a revision to come", method: "Get", body: `{"key":"jobs/a","consistency":"CONSISTENCY_STRONG","min_revision":"1000000"}`},
		{name: "get of what nobody holds", method: "Get", body: `{"key":"jobs/free"}`},
		{name: "eventual get of what nobody holds", method: "Get", body: `{"key":"jobs/free","consistency":"CONSISTENCY_EVENTUAL"}`},
		{name: "get without a key", method: "Get", body: `{}`},
		{name: "get of an unknown consistency", method: "Get", body: `{"key":"jobs/a","consistency":7}`},
		{name: "history", method: "History", body: `{"key":"jobs/camel"}`},
		{name: "history of what is held", method: "History", body: `{"key":"jobs/a"}`},
		{name: "history of what was ended by force", method: "History", body: `{"key":"jobs/zero"}`},
		{name: "history of what nobody has held", method: "History", body: `{"key":"jobs/free"}`},
		{name: "history without a key", method: "History", body: `{}`},
	}
}

func listExchanges() []exchange {
	var all []exchange
	for i := range 5 {
		all = append(all, exchange{name: fmt.Sprint("claim of page lease ", i), method: "Claim", body: fmt.Sprintf(`{"key":"pages/%d","holder":"ann","ttl":"3600s"}`, i)})
	}
	return append(all, []exchange{
		{name: "list", method: "List", body: `{"namespace":"pages"}`},
		{name: "list that is strong", method: "List", body: `{"namespace":"pages","prefix":"4","consistency":"CONSISTENCY_STRONG"}`},
		{name: "list that is eventual", method: "List", body: `{"namespace":"pages","prefix":"4","consistency":"CONSISTENCY_EVENTUAL","min_revision":"<pages/4>"}`},
		{name: "list of all namespaces", method: "List", body: `{"page_size":2}`},
		{name: "first page", method: "List", body: `{"namespace":"pages","page_size":2}`},
		{name: "second page", method: "List", body: `{"namespace":"pages","page_size":2,"page_token":"<page>"}`},
		{name: "third page", method: "List", body: `{"namespace":"pages","page_size":2,"page_token":"<page>"}`},
		{name: "largest page", method: "List", body: `{"namespace":"pages","prefix":"1","page_size":1000}`},
		{name: "list of nothing", method: "List", body: `{"namespace":"empty"}`},
		{name: "list with too large a page", method: "List", body: `{"page_size":1001}`},
		{name: "list with a page token that is none", method: "List", body: `{"page_token":"?"}`},
		{name: "list with a page token of nothing", method: "List", body: `{"page_token":"QS9i"}`},
		{name: "list of a malformed namespace", method: "List", body: `{"namespace":"NO"}`},
		{name: "list of an unknown consistency", method: "List", body: `{"consistency":9}`},
		{name: "list of a revision to come", method: "List", body: `{"min_revision":"1000000"}`},
	}...)
}

// plainExchanges are errors that only JSON or HTTP can have.
func plainExchanges() []exchange {
	asIs := func(*http.Request) {}
	claim := `{"key":"jobs/plain","holder":"ann","ttl":"3600s"}`
	return []exchange{
		{name: "an unknown field", method: "Claim", body: `{"key":"a/b","holder":"ann","tll":"3s"}`, edit: asIs},
		{name: "malformed JSON", method: "Claim", body: `{"key":`, edit: asIs},
		{name: "JSON that is a list", method: "Claim", body: `[]`, edit: asIs},
		{name: "an empty body", method: "Claim", edit: asIs},
		{name: "a ttl without a unit", method: "Claim", body: `{"key":"a/b","holder":"ann","ttl":"15"}`, edit: asIs},
		{name: "a ttl in minutes", method: "Claim", body: `{"key":"a/b","holder":"ann","ttl":"1m"}`, edit: asIs},
		{name: "a negative attempt", method: "Claim", body: `{"key":"a/b","holder":"ann","attempt":-1}`, edit: asIs},
		{name: "a token that is a word", method: "Extend", body: `{"key":"a/b","token":"mine"}`, edit: asIs},
		{name: "a consistency that is no word of it", method: "Get", body: `{"key":"a/b","consistency":"STRONG"}`, edit: asIs},
		{name: "a body of 5 MiB", method: "Claim", body: `{"key":"a/b","holder":"` + strings.Repeat("x", 5<<20) + `"}`},
		{name: "an unknown method", method: "/interrex.v1.LeaseService/Nope", body: `{}`},
		{name: "an unknown service", method: "/interrex.v1.NoService/Claim", body: `{}`},
		{name: "an unknown path", method: "/nowhere", body: `{}`},
		{name: "a GET", method: "Claim", edit: func(r *http.Request) { r.Method = http.MethodGet }},
		{name: "a PUT", method: "Claim", body: claim, edit: func(r *http.Request) { r.Method = http.MethodPut }},
		{name: "a wrong content type", method: "Claim", body: claim, edit: header("Content-Type", "text/plain")},
		{name: "no content type", method: "Claim", body: claim, edit: func(r *http.Request) { r.Header.Del("Content-Type") }},
		{name: "a content encoding that is none", method: "Claim", body: claim, edit: header("Content-Encoding", "rot13")},
		{name: "malformed protobuf", method: "Claim", body: "\x0a\xff", edit: header("Content-Type", "application/proto")},
		{name: "a text that is no UTF-8", method: "Claim", body: "\x0a\x03a/\xff\x12\x01a", edit: header("Content-Type", "application/proto")},
		{name: "a timeout that is over", method: "Claim", body: claim, edit: header("Connect-Timeout-Ms", "0")},
		{name: "a timeout that is none", method: "Claim", body: claim, edit: header("Connect-Timeout-Ms", "soon")},
		{name: "a version of the protocol to come", method: "Claim", body: claim, edit: header("Connect-Protocol-Version", "2")},
		{name: "what was refused has not happened", method: "Get", body: `{"key":"jobs/plain"}`},
		{name: "a content type with its charset", method: "Get", body: `{"key":"jobs/a"}`, edit: header("Content-Type", "application/json; charset=utf-8")},
		{name: "what is served on the socket alone", method: "/interrex.v1.EngineService/Drain", body: `{}`, edit: asIs},
	}
}

// timedExchanges are those of leases that may end soon.
func timedExchanges() []exchange {
	return []exchange{
		{name: "claim with the default ttl", method: "Claim", body: `{"key":"jobs/default","holder":"ann"}`},
		{name: "claim with the shortest ttl", method: "Claim", body: `{"key":"jobs/short","holder":"ann","ttl":"0.2s"}`},
	}
}
