package apiserver

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/wire"
)

// fill takes what is left of a share of the budget, for callers that each have little.
func fill(b *admission.Budget, share admission.Share) (empty func()) {
	var all []*admission.Account
	for n := int(b.Limit() / 1024); n > 0; n /= 2 {
		for fits := true; fits; {
			a := b.Open(admission.Caller{Name: fmt.Sprint("other", len(all))})
			all = append(all, a)
			fits = a.Take(n, share) == nil
		}
	}
	return func() {
		for _, a := range all {
			a.Close()
		}
	}
}

func TestWithoutMemoryForListsWhatIsSmallIsServed(t *testing.T) {
	nd := cluster(t, 1)[0]
	token := nd.claimed("a/b", "ann")
	b := nd.server.config.Budget
	big := strings.Repeat("x", 100<<10)
	const leases, json, isText = "/interrex.v1.LeaseService/", isJSON, "Content-Type: text/plain"
	full := fill(b, admission.Large)
	for _, c := range []struct {
		method, path, kind, body string
		want                     int
	}{
		{"POST", leases + "Claim", json, `{"key":"a/c","holder":"ann"}`, 200},
		{"POST", leases + "Extend", json, fmt.Sprintf(`{"key":"a/b","token":%d}`, token), 200},
		{"POST", leases + "Get", json, `{"key":"a/b"}`, 200},
		{"POST", leases + "List", json, `{}`, 429},
		{"POST", leases + "Claim", json, `{"key":"a/d","holder":"ann","metadata":{"m":"` + big + `"}}`, 429},
		{"PUT", "/kv/k", isText, "small", 200},
		{"PUT", "/kv/k", isText, big, 429},
		{"GET", "/kv/k", isText, "", 200},
		{"GET", "/kv", isText, "", 429},
		{"POST", "/changes", json, `"` + big + `"`, 429},
		{"GET", "/changes", isText, "", 429},
		{"GET", "/livez", isText, "", 200},
	} {
		if r := nd.kv(c.method, c.path, c.body, c.kind); r.status != c.want || c.want == 429 && !strings.Contains(r.body, "overloaded: the requests under way") {
			t.Errorf("%s %s with %d bytes: %d %.300s", c.method, c.path, len(c.body), r.status, r.body)
		}
	}
	for name, options := range map[string][]connect.ClientOption{"Connect": nil, "gRPC": {connect.WithGRPC()}} {
		of := interrexv1.NewLeaseServiceClient(nd.http, nd.url, options...)
		if _, err := of.Extend(t.Context(), connect.NewRequest(&interrexv1.ExtendRequest{Key: "a/b", Token: token})); err != nil {
			t.Errorf("%s: an extend: %v", name, err)
		}
		if _, err := of.List(t.Context(), connect.NewRequest(&interrexv1.ListRequest{})); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("%s: a list: %v", name, err)
		}
		packed := interrexv1.NewLeaseServiceClient(nd.http, nd.url, append(options, connect.WithSendGzip())...)
		if _, err := packed.Claim(t.Context(), connect.NewRequest(&interrexv1.ClaimRequest{Key: "a/e", Holder: "ann", Metadata: map[string]string{"m": big}})); connect.CodeOf(err) != connect.CodeResourceExhausted {
			t.Errorf("%s: what may become large: %v", name, err)
		}
	}
	full()
	full = fill(b, admission.Urgent)
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/grpc.health.v1.Health/Check": 200, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": 429} {
		if r := nd.kv(map[bool]string{true: "POST", false: "GET"}[strings.HasPrefix(path, "/grpc.")], path, "{}", json); r.status != want {
			t.Errorf("without any memory %s: %d %.300s", path, r.status, r.body)
		}
	}
	full()
	if r := nd.kv("GET", "/changes", ""); r.status != 200 {
		t.Errorf("with memory: %d %s", r.status, r.body)
	}
	nd.waitFor(func() bool { return b.Used() == 0 })
}

func TestWithoutMemoryForListsAStreamHasNoneEither(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("a/b", "ann")
	s := nd.stream(t.Context(), nd.url)
	full := fill(nd.server.config.Budget, admission.Large)
	defer full()
	s.send(op(1, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{}), op(2, interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{Key: "a/b"}))
	if got := s.answers(2); got[1].GetError().GetKind() != string(interrex.ErrOverloaded) || got[2].GetError() != nil {
		t.Errorf("a list is answered %v, and a row %v", got[1], got[2])
	}
}

// Also of requests that were cut off everything is given back.
func TestWhatIsCutOffHoldsNoMemory(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.claimed("a/b", "ann")
	b := nd.server.config.Budget
	for range 20 {
		c := nd.raw("PUT /kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 100_000))
		s := nd.stream(t.Context(), nd.url)
		s.send(op(1, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{}), waitOp(2, "a/b", "bob", 1e9))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, nd.url+"/changes", nil)
		nd.must(err)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := nd.http.Do(r)
		nd.must(err)
		nd.waitFor(func() bool { return b.Used() > 3*admission.RequestBytes })
		_ = answer.Body.Close()
		_ = s.conn.CloseResponse()
		_ = s.conn.CloseRequest()
		_ = c.Close()
	}
	nd.waitFor(func() bool { return b.Used() == 0 })
}

// What a compressed message may become is a thousand times its size: it costs nothing to
// be told so.
func TestABombIsNotDecompressed(t *testing.T) {
	nd := cluster(t, 1)[0]
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for range 16 {
		if _, err := w.Write(make([]byte, wire.MaxMessage)); err != nil {
			t.Fatal(err)
		}
	}
	nd.must(w.Close())
	bomb := packed.Bytes()
	framed := append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(bomb))), bomb...)
	for kind, c := range map[string]struct {
		path, header string
		body         []byte
	}{
		"application/json":         {interrexv1.LeaseServiceClaimProcedure, "Content-Encoding", bomb},
		"application/proto":        {interrexv1.LeaseServiceClaimProcedure, "Content-Encoding", bomb},
		"application/connect+json": {interrexv1.LeaseServiceWatchProcedure, "Connect-Content-Encoding", framed},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, nd.url+c.path, bytes.NewReader(c.body))
		nd.must(err)
		r.Header.Set("Content-Type", kind)
		r.Header.Set(c.header, "gzip")
		got := nd.send(r)
		if !strings.Contains(got.body, errUnread.Error()) || !strings.Contains(got.body, "too large") {
			t.Errorf("%s: %d %.300s", kind, got.status, got.body)
		}
	}
	u := new(unzipper)
	nd.must(u.Reset(bytes.NewReader(bomb)))
	if n, err := io.Copy(io.Discard, u); !errors.Is(err, errUnread) || n > wire.MaxMessage+1<<20 {
		t.Errorf("%d bytes are decompressed: %v", n, err)
	}
	nd.must(u.Reset(bytes.NewReader(bomb)))
	if n, err := u.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("the next message: %d bytes, %v", n, err)
	}
}

// A document that is too dense takes more memory than its size says.
func TestADenseRequestIsTooLarge(t *testing.T) {
	nd := cluster(t, 1)[0]
	group := nd.url + interrexv1.StateServiceGroupProcedure
	for kind, body := range map[string]string{
		"application/json":  `{"operations":[` + strings.Repeat("{},", 1<<18) + `{}]}`,
		"application/proto": strings.Repeat("\x0a\x00", 1<<18),
	} {
		if r := nd.post(group, kind, []byte(body)); r.kind() != string(interrex.ErrTooLarge) || !strings.Contains(r.body, "values in") {
			t.Errorf("%s: %d %.300s", kind, r.status, r.body)
		}
	}
}
