package featuretests

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex/gen/interrexv1"
)

// exchange is one unary request to an agent.
type exchange struct {
	name   string
	method string // of LeaseService, or a whole path
	// body is JSON. A key in <> means the token of its last grant, with "first of"
	// before it that of its first; <page> means the last page token.
	body string
	// edit makes the request unusual: then it is made only as plain HTTP.
	edit func(*http.Request)
	// leaderless requests go to an agent that knows no leader.
	leaderless bool
}

// path returns the path of the request.
func (x exchange) path() string {
	if strings.HasPrefix(x.method, "/") {
		return x.method
	}
	return "/" + interrexv1.LeaseServiceName + "/" + x.method
}

// known returns the descriptor of the request's method; nil: there is none.
func (x exchange) known() protoreflect.MethodDescriptor {
	name := strings.ReplaceAll(strings.TrimPrefix(x.path(), "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	m, _ := d.(protoreflect.MethodDescriptor)
	return m
}

// response is the answer of one exchange over one protocol.
type response struct {
	sent   string // the body: JSON, or protobuf
	status string
	header http.Header
	body   string // JSON or protobuf, with words for what differs from run to run
	code   string // of an error
	text   string
	detail string // protobuf
}

// protocol is one way to make unary requests.
type protocol int

const (
	overJSON  protocol = iota // Connect, JSON over HTTP/1.1
	overProto                 // Connect, protobuf over HTTP/1.1
	overGRPC                  // gRPC over HTTP/2 in the clear
)

// talker makes requests to one agent over one protocol.
type talker struct {
	t        testing.TB
	url      string
	protocol protocol
	http     *http.Client
	words    map[string]string // the values of words in <>
}

func newTalker(t testing.TB, url string, p protocol) *talker {
	transport := &http.Transport{DisableCompression: true, Protocols: &http.Protocols{}}
	transport.Protocols.SetHTTP1(p != overGRPC)
	transport.Protocols.SetUnencryptedHTTP2(p == overGRPC)
	t.Cleanup(transport.CloseIdleConnections)
	return &talker{t: t, url: url, protocol: p, http: &http.Client{Transport: transport}, words: map[string]string{}}
}

// ask makes one exchange.
func (k *talker) ask(x exchange) response {
	k.t.Helper()
	body := x.body
	for key, word := range k.words {
		body = strings.ReplaceAll(body, "<"+key+">", word)
	}
	var message []byte
	contentType := "application/json"
	if k.protocol != overJSON {
		message = encode(k.t, x, body)
		body, contentType = string(message), "application/proto"
	}
	if k.protocol == overGRPC {
		body, contentType = string(enveloped(message)), "application/grpc+proto"
	}
	r, err := http.NewRequestWithContext(k.t.Context(), http.MethodPost, k.url+x.path(), strings.NewReader(body))
	k.must(err)
	r.Header.Set("Content-Type", contentType)
	if k.protocol == overGRPC {
		r.Header.Set("Te", "trailers")
		body = string(message)
	}
	if x.edit != nil {
		x.edit(r)
	}
	resp, err := k.http.Do(r)
	k.must(err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	k.must(err)
	a := response{sent: body, status: fmt.Sprint(resp.StatusCode), header: resp.Header}
	if k.protocol == overGRPC {
		k.readGRPC(&a, x, resp, got)
	} else {
		k.readConnect(&a, x, got)
	}
	return a
}

// enveloped prepends what streams have before each message: a flag and the length.
func enveloped(message []byte) []byte {
	n := len(message)
	return append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, message...)
}

// encode returns the protobuf of a request that is written as JSON.
func encode(t testing.TB, x exchange, body string) []byte {
	t.Helper()
	m := newMessage(t, x.known().Input())
	if err := protojson.Unmarshal([]byte(body), m); err != nil {
		t.Fatalf("%s: %v", x.name, err)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readConnect reads an answer of the Connect protocol, whose errors are JSON.
func (k *talker) readConnect(a *response, x exchange, got []byte) {
	if a.status != "200" {
		var failure struct {
			Code    string
			Message string
			Details []struct{ Value string }
		}
		k.must(json.Unmarshal(got, &failure))
		a.code, a.text = failure.Code, steady(failure.Message)
		a.body = steady(compact(got))
		for _, d := range failure.Details {
			b, err := base64.RawStdEncoding.DecodeString(d.Value)
			k.must(err)
			a.detail = steadyDetail(b)
			a.body = strings.ReplaceAll(a.body, d.Value, fmt.Sprintf("%x", a.detail))
		}
		return
	}
	if k.protocol == overJSON {
		k.learn(got)
		a.body = steady(compact(got))
		return
	}
	k.learnMessage(x, got)
	a.body = string(steadyMessage(x.known().Output(), got))
}

// readGRPC reads an answer of the gRPC protocol, whose errors are trailers.
func (k *talker) readGRPC(a *response, x exchange, resp *http.Response, got []byte) {
	trailer := resp.Trailer
	if resp.Header.Get("Grpc-Status") != "" {
		trailer = resp.Header // trailers only
	}
	if a.code = trailer.Get("Grpc-Status"); a.code == "0" {
		if len(got) < 5 || !bytes.Equal(got, enveloped(got[5:])) {
			k.t.Fatalf("%s: the answer is not one message: %x", x.name, got)
		}
		k.learnMessage(x, got[5:])
		a.body = string(steadyMessage(x.known().Output(), got[5:]))
		return
	}
	text, err := url.PathUnescape(trailer.Get("Grpc-Message"))
	k.must(err)
	a.text = steady(text)
	status, err := base64.RawStdEncoding.DecodeString(trailer.Get("Grpc-Status-Details-Bin"))
	k.must(err)
	for len(status) > 0 { // google.rpc.Status: its field 3 are the details
		number, kind, n := protowire.ConsumeTag(status)
		length := protowire.ConsumeFieldValue(number, kind, status[n:])
		if number == 3 {
			b, _ := protowire.ConsumeBytes(status[n:])
			var detail anypb.Any
			k.must(proto.Unmarshal(b, &detail))
			a.detail = steadyDetail(detail.GetValue())
		}
		status = status[n+length:]
	}
}

func (k *talker) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// learn records the token of a grant and of the next page.
func (k *talker) learn(answer []byte) {
	var m struct {
		Lease *struct{ Key, Token string }
		Page  string `json:"next_page_token"`
	}
	k.must(json.Unmarshal(answer, &m))
	if m.Lease != nil {
		k.words[m.Lease.Key] = m.Lease.Token
		if first := "first of " + m.Lease.Key; k.words[first] == "" {
			k.words[first] = m.Lease.Token
		}
	}
	if m.Page != "" {
		k.words["page"] = m.Page
	}
}

func (k *talker) learnMessage(x exchange, b []byte) {
	m := newMessage(k.t, x.known().Output())
	k.must(proto.Unmarshal(b, m))
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	k.must(err)
	k.learn(text)
}

// newMessage returns an empty message of a type of the API.
func newMessage(t testing.TB, d protoreflect.MessageDescriptor) proto.Message {
	m, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return m.New().Interface()
}

// compact removes the spaces that protobuf's JSON inserts at random.
func compact(text []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return string(text)
	}
	return out.String()
}

// unsteady is what differs from run to run, and the word that replaces it.
var unsteady = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`), `"TIME"`},
	{regexp.MustCompile(`"remaining":"[0-9.]+s"`), `"remaining":"DURATION"`},
	{regexp.MustCompile(`for another [0-9][0-9.]* [a-z]+( [0-9]+ [a-z]+)? (unless)`), `for another DURATION $2`},
	{regexp.MustCompile(`in term \d+ at revision \d+`), `in term TERM at revision REVISION`},
	{regexp.MustCompile(`agent n\d knows of no leader`), `agent N knows of no leader`},
	{regexp.MustCompile(`"(uid|generation)":"[0-9A-Z]{26}"`), `"$1":"RANDOM"`},
	{regexp.MustCompile(`"secret":"whsec_[^"]+"`), `"secret":"SECRET"`},
	{regexp.MustCompile(`"_ts":\d+`), `"_ts":TIME`},
	{regexp.MustCompile(`"(uptime|cluster_time|last_contact|duration)":"[0-9.]+s"`), `"$1":"DURATION"`},
	{regexp.MustCompile(`"(term|last_term|applied_index|commit_index|first_index|last_index|match_index)":"\d+"`), `"$1":"NUMBER"`},
	{regexp.MustCompile(`"cluster_id":"[0-9a-f]+","epoch":"0","version":"[^"]*"`), `"cluster_id":"ID","epoch":"0","version":"VERSION"`},
	{regexp.MustCompile("\u00a0"), " "}, // protobuf varies its errors with it
}

func steady(s string) string {
	for _, u := range unsteady {
		s = u.pattern.ReplaceAllString(s, u.word)
	}
	return s
}

// steadyDetail is steadyMessage for an error's detail, with its text.
func steadyDetail(b []byte) string {
	var m interrexv1.Error
	if proto.Unmarshal(b, &m) != nil {
		return string(b)
	}
	text := m.Message
	b = steadyMessage(m.ProtoReflect().Descriptor(), b)
	field := func(s string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, 11, protowire.BytesType), s)
	}
	return string(bytes.Replace(b, field(text), field(steady(text)), 1))
}

// differs are the fields whose values differ from run to run.
var differs = map[protoreflect.Name]bool{
	"remaining": true, "generation": true, "secret": true, "duration": true, "cluster_id": true,
	"uptime": true, "cluster_time": true, "last_contact": true, "term": true, "last_term": true,
	"applied_index": true, "commit_index": true, "first_index": true, "last_index": true, "match_index": true,
}

// steadyAny is steadyMessage for a message that names its type.
func steadyAny(b []byte) []byte {
	var packed anypb.Any
	if proto.Unmarshal(b, &packed) != nil {
		return b
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByURL(packed.GetTypeUrl())
	if err != nil {
		return b
	}
	packed.Value = steadyMessage(typ.Descriptor(), packed.GetValue())
	b, _ = proto.MarshalOptions{Deterministic: true}.Marshal(&packed)
	return b
}

// steadyMessage returns the bytes of a message with fixed values for instants and
// estimates. Everything else is as it was sent.
func steadyMessage(d protoreflect.MessageDescriptor, b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return append(out, b...)
		}
		length := protowire.ConsumeFieldValue(number, kind, b[n:])
		if length < 0 {
			return append(out, b...)
		}
		field, value := d.Fields().ByNumber(number), b[n:n+length]
		switch {
		case field == nil || field.IsMap():
		case differs[field.Name()] || field.Name() == "version" && d.Name() == "StatusResponse":
			value = protowire.AppendBytes(nil, []byte("?"))
			if kind == protowire.VarintType {
				value = []byte{1}
			}
		case kind == protowire.BytesType && field.Message() != nil:
			inner, _ := protowire.ConsumeBytes(value)
			switch field.Message().FullName() {
			case "google.protobuf.Timestamp":
				inner = []byte("?")
			case "google.protobuf.Any":
				inner = steadyAny(inner)
			default:
				inner = steadyMessage(field.Message(), inner)
			}
			value = protowire.AppendBytes(nil, inner)
		}
		out = append(append(out, b[:n]...), value...)
		b = b[n+length:]
	}
	return out
}
