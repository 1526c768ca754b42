package featuretests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// kept is a request as a release's callers make it, with the answer of that release.
type kept struct {
	Path string `json:"path"` // of the method
	// Body is JSON. A word in <> is what an earlier answer had: see asker.learn.
	Body   string          `json:"body"`
	Stream bool            `json:"stream,omitempty"` // the answer is the first message of a stream
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer"`
}

// releaseRequests are requests of every method, in an order in which most are done. Those
// that only agents make, and what one agent cannot do, are refused.
func releaseRequests() []kept {
	const (
		thing = `{"type":{"group":"app","group_version":"v1","kind":"Thing"},"name":%q}`
		all   = `"type":{"group":"app","group_version":"v1","kind":"Thing"},"name_prefix":%q`
	)
	res := func(name string) string { return fmt.Sprintf(thing, name) }
	value := `{"@type":"type.googleapis.com/google.protobuf.StringValue","value":"hello"}`
	return []kept{
		ask("State/OpenName", `{"bits":"4711"}`),
		ask("Lease/Claim", `{"key":"jobs/a","holder":"ann","ttl":"86400s","request_id":"<name>.1","metadata":{"address":"db1:80"}}`),
		ask("Lease/Claim", `{"key":"jobs/b","holder":"bob","ttl":"86400s","request_id":"plain"}`),
		ask("Lease/Claim", `{"key":"jobs/a","holder":"bob"}`),
		ask("Lease/Claim", `{"key":"jobs/b","holder":"bob","ttl":"86400s","takeover":true}`),
		ask("Lease/Extend", `{"key":"jobs/a","token":"<jobs/a>","ttl":"86400s"}`),
		ask("Lease/Pin", `{"key":"jobs/a","owner":"ops","reason":"upgrade","for":"864000s"}`),
		ask("Lease/Pin", `{"key":"jobs/b","owner":"ops"}`),
		ask("Lease/Unpin", `{"key":"jobs/b","owner":"ops"}`),
		ask("Lease/Transfer", `{"key":"jobs/b","token":"<jobs/b>","to":"cyd"}`),
		ask("Lease/Claim", `{"key":"jobs/c","holder":"ann","fence":{"key":"jobs/a","token":"<jobs/a>"}}`),
		ask("Lease/Revoke", `{"key":"jobs/c","token":"<jobs/c>","request_id":"over"}`),
		ask("Lease/Get", `{"key":"jobs/a"}`),
		ask("Lease/Get", `{"key":"jobs/a","at_revision":"<revision>"}`),
		ask("Lease/List", `{"namespace":"jobs"}`),
		ask("Lease/List", `{"namespace":"jobs","at_revision":"<revision>"}`),
		ask("Lease/Diff", `{"namespace":"jobs","from_revision":"1"}`),
		ask("Lease/History", `{"key":"jobs/c"}`),
		stream("Lease/Watch", `{"namespace":"jobs"}`),
		ask("Resource/Write", `{"resource":{"id":`+res("a")+`,"metadata":{"a":"b"},"data":`+value+`}}`),
		ask("Resource/Write", `{"resource":{"id":`+res("a/child")+`,"owner_lease":{"key":"jobs/a","token":"<jobs/a>"}}}`),
		ask("Resource/Write", `{"resource":{"id":`+res("b")+`},"request_id":"<name>.2"}`),
		ask("Resource/Check", `{"id":`+res("a")+`,"version":"1"}`),
		ask("Resource/Check", `{"id":`+res("none")+`,"version":""}`),
		ask("Resource/Read", `{"id":`+res("a")+`}`),
		ask("Resource/List", `{`+fmt.Sprintf(all, "a")+`}`),
		ask("Resource/ListByOwner", `{"owner":`+res("a")+`}`),
		stream("Resource/Watch", `{`+fmt.Sprintf(all, "a")+`}`),
		ask("Resource/Delete", `{"id":`+res("b")+`}`),
		ask("Resource/Write", `{"resource":{"id":`+res("c/1")+`}}`),
		ask("Resource/Clear", `{`+fmt.Sprintf(all, "c/")+`}`),
		ask("Change/Append", `{"data":{"app":"web"},"tags":["deploy"]}`),
		ask("Change/List", `{"limit":3}`),
		ask("Change/Get", `{"revision":"<revision>"}`),
		stream("Change/Watch", `{"since":"1"}`),
		ask("Webhook/Set", `{"webhook":{"name":"guard","url":"http://127.0.0.1:1/","kinds":["lease.claimed"],"prefixes":["prod/"],"headers":{"X-A":"x"},"timeout":"0.5s"}}`),
		ask("Webhook/Set", `{"webhook":{"name":"gone","url":"http://127.0.0.1:1/","when":"after","kinds":["lease.pinned"]}}`),
		ask("Webhook/Test", `{"name":"guard"}`),
		ask("Webhook/Get", `{"name":"guard"}`),
		ask("Webhook/Delete", `{"name":"gone"}`),
		ask("Webhook/List", `{}`),
		ask("State/SetSettings", `{"values":{"access.max-silence":"31s"}}`),
		ask("State/GetSettings", `{}`),
		ask("State/ReadIndex", `{}`),
		ask("State/ListRequests", `{}`),
		ask("State/DropRequests", `{"caller":"nobody"}`),
		ask("State/Compare", `{}`),
		ask("State/Retire", `{"name":"<name>","mark":"2"}`),
		ask("State/Propose", `{"table":300,"data":"AQ=="}`),
		ask("State/Group", `{"operations":[{"@type":"type.googleapis.com/interrex.v1.ClaimRequest","key":"jobs/d","holder":"dan","ttl":"86400s"},{"@type":"type.googleapis.com/interrex.v1.PinRequest","key":"jobs/b","owner":"dba"}]}`),
		ask("Token/Create", `{"hash":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","name":"web","rules":[{"table":"lease","verbs":["claim"],"prefix":"web/","own":true}]}`),
		ask("Token/Create", `{"hash":"/wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","name":"old","operator":true,"ttl":"864000s"}`),
		ask("Token/Revoke", `{"id":"<token>"}`),
		ask("Token/List", `{}`),
		ask("Member/CreateJoinToken", `{"public_key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","max_uses":3,"ttl":"864000s"}`),
		ask("Member/ListJoinTokens", `{}`),
		ask("Member/RevokeJoinToken", `{"id":"none"}`),
		ask("Member/Add", `{"id":"n7","cluster_address":"127.0.0.1:1"}`),
		ask("Member/SetVoter", `{"id":"n7","voter":false}`),
		ask("Member/List", `{}`),
		ask("Member/Remove", `{"id":"n7"}`),
		ask("Member/TransferLeader", `{"id":"n7"}`),
		ask("Member/Admit", `{"id":"n8"}`),
		ask("Certificate/ListCertificates", `{}`),
		ask("Certificate/RenewCertificate", `{"id":"n7"}`),
		ask("Certificate/Recertify", `{}`),
		ask("Maintenance/Staged", `{}`),
		ask("Maintenance/Stage", `{"file":"7","offset":"0","data":"AA=="}`),
		ask("Maintenance/Restore", `{"file":"7","bytes":"1","checksum":1}`),
		ask("Maintenance/Unstage", `{"file":"7"}`),
		stream("Maintenance/Save", `{}`),
		ask("Engine/Report", `{}`),
		ask("Engine/Status", `{}`),
		ask("Engine/Config", `{}`),
		ask("Engine/Reload", `{}`),
	}
}

// lastRequests change the agent for good.
func lastRequests() []kept {
	return []kept{ask("Certificate/RotateCa", `{}`), ask("Engine/Leave", `{}`), ask("Engine/Drain", `{}`)}
}

// releaseContent are the reads that show what a data directory holds.
func releaseContent() []kept {
	return []kept{
		ask("Lease/List", `{}`), ask("Lease/History", `{"key":"jobs/c"}`),
		ask("Resource/List", `{"type":{"group":"app","group_version":"v1","kind":"Thing"}}`),
		ask("Change/List", `{"limit":1000}`), ask("Webhook/List", `{}`), ask("Token/List", `{}`),
		ask("State/GetSettings", `{}`), ask("State/ListRequests", `{}`), ask("Member/List", `{}`), ask("Member/ListJoinTokens", `{}`),
	}
}

func ask(method, body string) kept {
	return kept{Path: "/interrex.v1." + strings.Replace(method, "/", "Service/", 1), Body: body}
}

func stream(method, body string) kept {
	k := ask(method, body)
	k.Stream = true
	return k
}

// method returns the method as ask takes it.
func (k kept) method() string {
	return strings.Replace(strings.TrimPrefix(k.Path, "/interrex.v1."), "Service/", "/", 1)
}

// asker makes requests on an agent's socket, as an operator.
type asker struct {
	t       *testing.T
	http    *http.Client
	streams *http.Client // for those of both sides
	words   map[string]string
}

func (f *fleet) asker(i int) *asker {
	path := filepath.Join(f.members[i].config.Agent.DataDir, "interrex.sock")
	clientOf := func(both bool) *http.Client {
		transport := &http.Transport{Protocols: &http.Protocols{}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}
		transport.Protocols.SetHTTP1(!both)
		transport.Protocols.SetUnencryptedHTTP2(both)
		f.t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: patience}
	}
	return &asker{t: f.t, http: clientOf(false), streams: clientOf(true), words: map[string]string{}}
}

// all makes requests, and returns them with their answers.
func (a *asker) all(requests []kept) (answered []kept) {
	a.t.Helper()
	for _, k := range requests {
		k.Status, k.Answer = a.ask(k)
		answered = append(answered, k)
	}
	return answered
}

func (a *asker) ask(k kept) (status int, answer json.RawMessage) {
	a.t.Helper()
	body, contentType := []byte(a.filled(k.Body)), "application/json"
	if k.Stream {
		body, contentType = enveloped(body), "application/connect+json"
	}
	resp, err := a.http.Post("http://localhost"+k.Path, contentType, bytes.NewReader(body))
	if err != nil {
		a.t.Fatalf("%s: %v", k.Path, err)
	}
	defer resp.Body.Close()
	if k.Stream && resp.StatusCode == http.StatusOK {
		answer = a.first(resp.Body)
	} else if answer, err = io.ReadAll(resp.Body); err != nil {
		a.t.Fatalf("%s: %v", k.Path, err)
	}
	if !json.Valid(answer) {
		a.t.Fatalf("%s answers %q", k.Path, answer)
	}
	a.learn(answer)
	return resp.StatusCode, answer
}

// first reads the first message of a stream.
func (a *asker) first(r io.Reader) json.RawMessage {
	a.t.Helper()
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		a.t.Fatal(err)
	}
	message := make([]byte, int(head[1])<<24|int(head[2])<<16|int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(r, message); err != nil {
		a.t.Fatal(err)
	}
	return message
}

func (a *asker) filled(body string) string {
	for word, value := range a.words {
		body = strings.ReplaceAll(body, "<"+word+">", value)
	}
	return body
}

// learn notes the tokens of leases by their keys, the newest revision, the name of
// OpenName, and the ID of the last access token.
func (a *asker) learn(answer json.RawMessage) {
	var m struct {
		Lease          *struct{ Key, Token string }
		Name, Revision string
		Token          *struct{ ID string }
	}
	if json.Unmarshal(answer, &m) != nil {
		return // other answers have other fields of these names
	}
	if m.Lease != nil {
		a.words[m.Lease.Key] = m.Lease.Token
	}
	if m.Name != "" {
		a.words["name"] = m.Name
	}
	if m.Revision != "" {
		a.words["revision"] = m.Revision
	}
	if m.Token != nil && m.Token.ID != "" {
		a.words["token"] = m.Token.ID
	}
}

// shape returns the kinds of all values in JSON, by their place; items of lists share one.
func shape(text json.RawMessage) map[string]string {
	var v any
	places := map[string]string{}
	if json.Unmarshal(text, &v) == nil {
		shapeOf("", v, places)
	}
	return places
}

// inEmpty reports whether a place is in a list that has no items.
func inEmpty(place string, has map[string]string) bool {
	for i := range place {
		if strings.HasPrefix(place[i:], "[]") && has[place[:i]] == "list" && has[place[:i+2]] == "" {
			return true
		}
	}
	return false
}

func shapeOf(place string, v any, places map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		places[place] = "object"
		for name, of := range v {
			shapeOf(place+"."+name, of, places)
		}
	case []any:
		places[place] = "list"
		for _, of := range v {
			shapeOf(place+"[]", of, places)
		}
	default:
		places[place] = fmt.Sprintf("%T", v)
	}
}
