package featuretests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// operated is one message on the stream of operations as a release's clients send it, with
// the answer of that release.
type operated struct {
	Path    string `json:"path"`    // of the operation's method
	Message []byte `json:"message"` // OperateRequest
	Answer  []byte `json:"answer"`  // OperateResponse
}

// releaseOperations are the requests that need no earlier answer, as operations.
func (r *release) releaseOperations() (all []operated) {
	r.t.Helper()
	requests := slices.DeleteFunc(append(releaseRequests(), lastRequests()...), func(k kept) bool {
		_, err := wire.MethodOf(k.Path)
		return err != nil || k.Stream || strings.Contains(k.Body, "<")
	})
	for i, k := range requests {
		op := &interrexv1.Operation{Id: uint64(i + 1), TimeoutMs: 10_000}
		m, err := wire.MethodOf(k.Path)
		r.must(err)
		op.Method = m.Number
		var body map[string]any
		r.must(json.Unmarshal([]byte(k.Body), &body))
		if id, is := body["request_id"]; is {
			op.RequestId, op.Attempt = id.(string), 1
			delete(body, "request_id")
		}
		text, err := json.Marshal(body)
		r.must(err)
		op.Body = encode(r.t, exchange{name: k.Path, method: k.Path}, string(text))
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{op}})
		r.must(err)
		all = append(all, operated{Path: k.Path, Message: b})
	}
	return all
}

// operate sends one message on a stream of its own, and returns the first answer.
func (a *asker) operate(message []byte) []byte {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, "http://localhost"+interrexv1.StreamServiceOperateProcedure, bytes.NewReader(enveloped(message)))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/grpc+proto")
	request.Header.Set("Te", "trailers")
	resp, err := a.streams.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer := a.first(resp.Body)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		a.t.Fatal(err)
	}
	return answer
}

// operates sends the release's operations to a new agent, whose answers have at least what
// they had.
func (r *release) operates() {
	f := enrol(r.t, 1)
	asker := f.asker(0)
	var all []operated
	r.must(json.Unmarshal(r.read(releaseOperated), &all))
	for _, o := range all {
		was, is := r.answerIn(o, o.Answer), r.answerIn(o, asker.operate(o.Message))
		for place, kind := range shape(was) {
			has := shape(is)
			if has[place] != kind && !inEmpty(place, has) {
				r.t.Errorf("%s: %s is %q, and was %q: %s", o.Path, place, has[place], kind, is)
			}
		}
	}
}

// answerIn returns what an answer on the stream says, as JSON: the kind of an error, or
// the method's own answer.
func (r *release) answerIn(o operated, b []byte) json.RawMessage {
	r.t.Helper()
	var m interrexv1.OperateResponse
	r.must(proto.Unmarshal(b, &m))
	if len(m.GetAnswers()) != 1 {
		r.t.Fatalf("%s: there are %d answers", o.Path, len(m.GetAnswers()))
	}
	one := m.GetAnswers()[0]
	if e := one.GetError(); e != nil {
		return json.RawMessage(fmt.Sprintf(`{"error":{%q:true}}`, e.GetKind()))
	}
	answer := newMessage(r.t, exchange{method: o.Path}.known().Output())
	r.must(proto.Unmarshal(one.GetBody(), answer))
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(answer)
	r.must(err)
	return text
}
