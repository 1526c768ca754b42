package apiserver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

func TestWhatNeverReachesAMethodSaysWhatToDo(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, test := range []struct {
		method, path, contentType string
		header                    [2]string
		status                    int
		want                      string
	}{
		{"GET", "/interrex.v1.LeaseService/Claim", "application/json", [2]string{}, 405, "invalid: GET is not served at /interrex.v1.LeaseService/Claim: use POST"},
		{"POST", "/livez", "application/json", [2]string{}, 404, "not found: POST is not served at /livez: use GET"},
		{"GET", "/health", "", [2]string{}, 404, "not found: there is nothing at GET /health: did you mean /healthz?"},
		{"GET", "/change", "", [2]string{}, 404, "not found: there is nothing at GET /change: did you mean /changes?"},
		{"GET", "/changes/", "", [2]string{}, 404, "not found: there is nothing at GET /changes/: did you mean /changes?"},
		{"GET", "/kvs", "", [2]string{}, 404, "not found: there is nothing at GET /kvs: did you mean /kv?"},
		{"POST", "/v1/lease/claim", "application/json", [2]string{}, 404, "not found: there is nothing at POST /v1/lease/claim: did you mean /interrex.v1.LeaseService/Claim?"},
		{"POST", "/interrex.v1.StreamService/Wach", "application/json", [2]string{}, 404, "not found: there is nothing at POST /interrex.v1.StreamService/Wach: did you mean /interrex.v1.StreamService/Watch?"},
		{"POST", "/interrex.v1.LeaseServices/Watch", "application/json", [2]string{}, 404, "not found: there is nothing at POST /interrex.v1.LeaseServices/Watch: did you mean /interrex.v1.LeaseService/Watch?"},
		{"GET", "/", "", [2]string{}, 404, "not found: there is nothing at GET /"},
		{"GET", "/%1b%5b2J%c2%9b%e2%80%aehealth", "", [2]string{}, 404, "not found: there is nothing at GET / [2J health"},
		{"GET", "/" + strings.Repeat("a", 8<<10) + "/health", "", [2]string{}, 404, "not found: there is nothing at GET /" + strings.Repeat("a", 255) + "..."},
		{"POST", "/interrex.v1.LeaseService/Claim", "text/plain", [2]string{}, 415, `invalid: content type "text/plain" is not served at /interrex.v1.LeaseService/Claim: use Content-Type: application/json; served are application/grpc, application/grpc-web, application/json, application/proto`},
		{"POST", "/interrex.v1.LeaseService/Watch", "application/json", [2]string{}, 415, "invalid: content type \"application/json\" is not served at /interrex.v1.LeaseService/Watch, which is a stream: use Content-Type: application/connect+json; " + enveloping +
			"; 'interrex lease watch -o json' does all that; served are application/connect+json, application/connect+proto, application/grpc, application/grpc-web"},
		{"POST", "/interrex.v1.LeaseService/Claim", "application/connect+json", [2]string{}, 415, `invalid: content type "application/connect+json" is not served at /interrex.v1.LeaseService/Claim: use Content-Type: application/json; served are application/grpc, application/grpc-web, application/json, application/proto`},
		{"POST", "/interrex.v1.StreamService/Operate", "application/connect+json", [2]string{}, 505, `invalid: /interrex.v1.StreamService/Operate is not served over HTTP/1.1: it streams both ways and needs HTTP/2`},
		{"POST", "/interrex.v1.LeaseService/Claim", "application/json", [2]string{"Content-Encoding", "rot13"}, 400, `invalid: Content-Encoding: "rot13" is not served: use gzip, or none`},
		{"POST", "/interrex.v1.LeaseService/Claim", "application/json", [2]string{"Connect-Timeout-Ms", "soon"}, 400, `invalid: Connect-Timeout-Ms: "soon" is not valid: give milliseconds, such as 5000`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, nd.url+test.path, strings.NewReader("{}"))
		nd.must(err)
		r.Header.Set("Content-Type", test.contentType)
		if test.header[0] != "" {
			r.Header.Set(test.header[0], test.header[1])
		}
		got := nd.send(r)
		if got.status != test.status || got.at("message") != test.want {
			t.Errorf("%s %s: %d %v,\nnot %d %s", test.method, test.path, got.status, got.at("message"), test.status, test.want)
		}
		if kind, text, _ := strings.Cut(test.want, ": "); got.kind() != kind || got.at("details", 0, "debug", "message") != text {
			t.Errorf("%s %s: its detail is %v", test.method, test.path, got.at("details", 0, "debug"))
		}
	}
}

func TestAStreamThatCannotBeReadHasItsDetail(t *testing.T) {
	nd := cluster(t, 1)[0]
	for body, want := range map[string]string{
		"\x00\x00\x00\x00\x0b" + `{"sinc":1} `: `sinc: WatchRequest has no such field: did you mean "since"?`,
		`{}`:                                   enveloping,
		`{"namespace":"ab"}`:                   enveloping,
		"\x00\x00\x00\x00\x0b" + `{}`:          enveloping,
	} {
		r := nd.post(nd.url+"/interrex.v1.LeaseService/Watch", "application/connect+json", []byte(body))
		var end struct{ Error rpcFailure }
		if len(r.body) < 5 || json.Unmarshal([]byte(r.body[5:]), &end) != nil || len(end.Error.Details) != 1 {
			t.Errorf("%q: %q", body, r.body)
			continue
		}
		var detail interrexv1.Error
		if err := protojson.Unmarshal(end.Error.Details[0].Debug, &detail); err != nil || !strings.Contains(detail.Message, want) {
			t.Errorf("%q: %v %q", body, err, detail.Message)
		}
	}
}

func TestWhatIsWrongInAStreamsRequestIsNotItsEnvelope(t *testing.T) {
	nd := cluster(t, 1)[0]
	for _, test := range []struct{ encoding, body, want string }{
		{"json", `{"sinc":1} `, "sinc: WatchRequest has no such field"},
		{"json", `{"key":"NO/no"} `, "a-z 0-9"},
		{"proto", "\xff\xff\xff", "it is not a WatchRequest"},
	} {
		body := "\x00\x00\x00\x00" + string(rune(len(test.body))) + test.body
		r := nd.post(nd.url+"/interrex.v1.LeaseService/Watch", "application/connect+"+test.encoding, []byte(body))
		if !strings.Contains(r.body, test.want) || strings.Contains(r.body, "five bytes") {
			t.Errorf("%q: %q", test.body, r.body)
		}
	}
}

func TestACallThatIsCancelledBeforeItsMethodHasNotHappened(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/interrex.v1.LeaseService/Claim", nil)
	err := refusals{new(Server)}.classify(rpcFailure{Code: "canceled", Message: "gone"}, 499, http.Header{}, r)
	if err.Kind != interrex.ErrTimeout {
		t.Errorf("got %v", err)
	}
}
