package plainhttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
)

// is fails unless an error is of a kind; "": there is none.
func is(t *testing.T, what string, err error, kind interrex.Kind) {
	t.Helper()
	if interrex.KindOf(err) != kind || (err == nil) != (kind == "") {
		t.Errorf("%s: got %v, want %q", what, err, kind)
	}
}

func TestOnlyKnownParametersOnce(t *testing.T) {
	for query, want := range map[string]interrex.Kind{
		"": "", "since=1": "", "since=1&since=2": interrex.ErrInvalid, "tag=a&tag=b": "", "sinc=1": interrex.ErrInvalid,
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		is(t, query, onlyQuery(q, "since", "tag*"), want)
		if query != "" {
			is(t, query+" where none is taken", onlyQuery(q), interrex.ErrInvalid)
		}
	}
}

func TestAPeriodIsSecondsOrADuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "2m": 2 * time.Minute, "-1": -1, "-1s": -1, "x": -1} {
		got, err := period(url.Values{"block": {text}}, "block")
		if (err != nil) != (want < 0) || want >= 0 && got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestTheConsistencyOfARead(t *testing.T) {
	for query, want := range map[string]struct {
		c    interrexv1.Consistency
		kind interrex.Kind
	}{
		"":                       {interrexv1.Consistency_CONSISTENCY_STRONG, ""},
		"consistency=strong":     {interrexv1.Consistency_CONSISTENCY_STRONG, ""},
		"consistency=eventual":   {interrexv1.Consistency_CONSISTENCY_EVENTUAL, ""},
		"consistency=some":       {0, interrex.ErrInvalid},
		"min_revision=yesterday": {interrexv1.Consistency_CONSISTENCY_STRONG, interrex.ErrInvalid},
	} {
		q, _ := url.ParseQuery(query)
		c, _, err := consistencyOf(q)
		if is(t, query, err, want.kind); c != want.c {
			t.Errorf("%s: %v", query, c)
		}
	}
}

func TestAnErrorSaysWhenToRetryAndFromWhere(t *testing.T) {
	for _, c := range []struct {
		wait   time.Duration
		header string
		first  interrex.Revision
	}{{0, "", 0}, {time.Millisecond, "1", 0}, {2 * time.Second, "2", 7}} {
		e := interrex.Errorf(interrex.ErrUnavailable, "no")
		e.RetryAfter, e.FirstRevision = c.wait, c.first
		w := httptest.NewRecorder()
		plainError(w, e)
		if w.Code != interrex.ErrUnavailable.HTTP() || w.Header().Get("Retry-After") != c.header || strings.Contains(w.Body.String(), `"first":7`) != (c.first == 7) {
			t.Errorf("retry after %v: %d, %v, %s", c.wait, w.Code, w.Header(), w.Body)
		}
	}
}

// body is a request's body that fails at its end.
type body struct {
	io.Reader
	err error
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.err != nil {
		err = b.err
	}
	return n, err
}

func zipped(b []byte) io.Reader {
	var out bytes.Buffer
	to := gzip.NewWriter(&out)
	_, _ = to.Write(b)
	_ = to.Close()
	return &out
}

func TestABodyHasALimit(t *testing.T) {
	full := make([]byte, maxPlainBody)
	for what, c := range map[string]struct {
		encoding string
		body     io.Reader
		want     interrex.Kind
	}{
		"full":                     {"", bytes.NewReader(full), ""},
		"identity":                 {"identity", bytes.NewReader(full), ""},
		"too large":                {"", bytes.NewReader(append(full, 0)), interrex.ErrTooLarge},
		"compressed":               {"gzip", zipped(full), ""},
		"too large, compressed":    {"gzip", zipped(append(full, 0)), interrex.ErrTooLarge},
		"not compressed":           {"gzip", strings.NewReader("x"), interrex.ErrInvalid},
		"in an unknown encoding":   {"br", strings.NewReader("x"), interrex.ErrInvalid},
		"not received in time":     {"", body{strings.NewReader("x"), os.ErrDeadlineExceeded}, interrex.ErrInvalid},
		"that ends in the middle":  {"", body{strings.NewReader("x"), io.ErrUnexpectedEOF}, interrex.ErrInvalid},
		"with an end of gzip lost": {"gzip", io.LimitReader(zipped(full), 100), interrex.ErrInvalid},
	} {
		r := httptest.NewRequest(http.MethodPost, "/changes", c.body)
		r.Header.Set("Content-Encoding", c.encoding)
		_, err := plainBody(httptest.NewRecorder(), r)
		is(t, what, err, c.want)
	}
}

func TestABodyThatIsTooLargeIsNotSentAtAll(t *testing.T) {
	r := httptest.NewRequest(http.MethodPut, "/kv/a", body{strings.NewReader(""), errors.New("it was read")})
	r.ContentLength = maxPlainBody + 1
	r.Header.Set("Expect", "100-continue")
	_, err := plainBody(httptest.NewRecorder(), r)
	is(t, "expecting 100 Continue", err, interrex.ErrTooLarge)
}

func TestTheEnvelopeInHeaders(t *testing.T) {
	for _, c := range []struct {
		attempt, fence string
		want           interrex.Kind
	}{
		{"", "", ""}, {"2", "a/b 3", ""}, {"second", "", interrex.ErrInvalid}, {"", "a/b", interrex.ErrInvalid}, {"", "a/b x", interrex.ErrInvalid},
	} {
		r := httptest.NewRequest(http.MethodPut, "/kv/a", nil)
		r.Header.Set(HeaderRequestID, "1")
		r.Header.Set(HeaderAttempt, c.attempt)
		r.Header.Set(HeaderFence, c.fence)
		var id string
		var attempt uint32
		var fence *interrexv1.Fence
		err := plainEnvelope(r, &id, &attempt, &fence)
		is(t, c.attempt+", "+c.fence, err, c.want)
		if c.attempt == "2" && (id != "1" || attempt != 2 || fence.GetKey() != "a/b" || fence.GetToken() != 3) {
			t.Errorf("got %q, %d, %v", id, attempt, fence)
		}
	}
}

func TestOnlyAGetFollows(t *testing.T) {
	for m, want := range map[string]bool{http.MethodGet: true, http.MethodHead: false, http.MethodPost: false} {
		r := httptest.NewRequest(m, "/kv/a", nil)
		r.Header.Set("Accept", "application/json, text/event-stream; q=0.5")
		if follows(r) != want {
			t.Errorf("%s follows: %v", m, !want)
		}
	}
}

func TestAMethodThatIsNotAllowedNamesTheOthers(t *testing.T) {
	w := httptest.NewRecorder()
	if err := notAllowed(w, "GET, PUT"); err != nil || w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, PUT" {
		t.Errorf("got %v, %d, %v", err, w.Code, w.Header())
	}
}

func TestWhichVersionAWriteRequires(t *testing.T) {
	for header, want := range map[string]struct {
		version string
		kind    interrex.Kind
	}{
		"": {"", ""}, `"7"`: {"7", ""}, "7": {"7", ""}, "*": {"", interrex.ErrInvalid}, `""`: {"", interrex.ErrInvalid}, `"7", "8"`: {"", interrex.ErrInvalid},
	} {
		r := httptest.NewRequest(http.MethodPut, "/kv/a", nil)
		r.Header.Set("If-Match", header)
		version, err := ifMatch(r)
		if is(t, header, err, want.kind); version != want.version {
			t.Errorf("%s: %q", header, version)
		}
	}
}

func TestWhatIsRefusedBeforeItIsDone(t *testing.T) {
	p := plainValues{}
	for what, c := range map[string]struct {
		do     func(http.ResponseWriter, *http.Request) error
		target string
		header [2]string
	}{
		"a wait since nothing": {func(w http.ResponseWriter, r *http.Request) error { return p.get(w, r, interrex.ResourceID{}) }, "/kv/a?block=1s", [2]string{}},
		"a wait too long":      {func(w http.ResponseWriter, r *http.Request) error { return p.get(w, r, interrex.ResourceID{}) }, "/kv/a?since=1&block=100h", [2]string{}},
		"a put under both conditions": {func(w http.ResponseWriter, r *http.Request) error {
			r.Header.Set("If-Match", `"7"`)
			return p.put(w, r, interrex.ResourceID{})
		}, "/kv/a", [2]string{"If-None-Match", "*"}},
		"a put unless there is another": {func(w http.ResponseWriter, r *http.Request) error { return p.put(w, r, interrex.ResourceID{}) }, "/kv/a", [2]string{"If-None-Match", `"7"`}},
		"a delete of what is not there": {func(w http.ResponseWriter, r *http.Request) error { return p.remove(w, r, interrex.ResourceID{}) }, "/kv/a", [2]string{"If-None-Match", "*"}},
		"a delete of everything":        {p.clear, "/kv", [2]string{}},
	} {
		r := httptest.NewRequest(http.MethodPut, c.target, nil)
		if c.header[0] != "" {
			r.Header.Set(c.header[0], c.header[1])
		}
		func() {
			defer func() {
				if recover() != nil {
					t.Errorf("%s: it is done", what)
				}
			}()
			is(t, what, c.do(httptest.NewRecorder(), r), interrex.ErrInvalid)
		}()
	}
}

// newPlain returns a server that only admits requests.
func newPlain(t *testing.T) *Server {
	t.Helper()
	methods, err := method.NewRegistry("a", nil, method.NewSwitches())
	if err != nil {
		t.Fatal(err)
	}
	return New(nil, consistency.New(consistency.Config{}), methods, admission.NewCalls(nil), clock.WallClock, time.Minute)
}

func TestWhenARequestIsAdmitted(t *testing.T) {
	for what, c := range map[string]struct {
		query  string
		before func(*Server)
		want   interrex.Kind
	}{
		"on":                     {"a=b", func(*Server) {}, ""},
		"off":                    {"", func(s *Server) { s.methods.Switches.Switch(method.ChangesSetting, false) }, interrex.ErrDisabled},
		"a query without a form": {"%zz", func(*Server) {}, interrex.ErrInvalid},
		"draining":               {"", func(s *Server) { _ = s.calls.Drain(context.Background()) }, interrex.ErrDraining},
	} {
		s := newPlain(t)
		c.before(s)
		done := false
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/changes", nil)
		r.URL.RawQuery = c.query
		s.plain(method.ChangesSetting, func(http.ResponseWriter, *http.Request) error { done = true; return nil })(w, r)
		want := http.StatusOK
		if c.want != "" {
			want = c.want.HTTP()
		}
		if done != (c.want == "") || w.Code != want {
			t.Errorf("%s: done %v, status %d, want %d", what, done, w.Code, want)
		}
	}
}

func TestADrainEndsARequestAndWaitsForIt(t *testing.T) {
	s := newPlain(t)
	begun := make(chan bool)
	w := httptest.NewRecorder()
	served := make(chan bool)
	go func() {
		defer close(served)
		s.plain(method.ChangesSetting, func(_ http.ResponseWriter, r *http.Request) error {
			close(begun)
			<-r.Context().Done()
			return r.Context().Err()
		})(w, httptest.NewRequest(http.MethodGet, "/changes?block=60", nil))
	}()
	<-begun
	if err := s.calls.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-served
	if w.Code != interrex.ErrDraining.HTTP() || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, %v: %s", w.Code, w.Header(), w.Body)
	}
}

func TestAChangeOfTwoMeaningsIsRefused(t *testing.T) {
	for text, want := range map[string]interrex.Kind{
		`{"data":1}`: "", `1`: "", `{"data":1,"tags":["a"]}`: "", `{"a":1}`: "",
		``: interrex.ErrInvalid, `{"data":1,"a":2}`: interrex.ErrInvalid, `{"data":1,"data":2}`: interrex.ErrInvalid, `{"data":1,"tags":"a"}`: interrex.ErrInvalid,
	} {
		_, err := changeOf([]byte(text))
		is(t, text, err, want)
	}
}

func TestABodyThatDoesNotFitSaysSoOnce(t *testing.T) {
	over := interrex.Errorf(interrex.ErrOverloaded, "no room")
	r := httptest.NewRequest(http.MethodPut, "/kv/a", body{strings.NewReader(""), errors.Join(over, errors.New("resource_exhausted: no room"))})
	if _, err := plainBody(httptest.NewRecorder(), r); err == nil || err.Error() != over.Error() {
		t.Errorf("got %v, want %v", err, over)
	}
}
