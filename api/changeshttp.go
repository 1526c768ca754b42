package api

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/change"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// The headers of plain HTTP that say what a request of the API says in fields.
const (
	HeaderRequestID = "Interrex-Request-Id"
	HeaderAttempt   = "Interrex-Attempt"
	HeaderFence     = "Interrex-Fence" // KEY TOKEN
	HeaderRevision  = "Interrex-Revision"
)

// maxPlainBody is the largest body of a request of plain HTTP.
const maxPlainBody = wire.MaxBody

// plainChange is a change as GET /changes shows it.
type plainChange struct {
	ID   uint64   `json:"_id"`
	Time int64    `json:"_ts"`
	Kind string   `json:"kind,omitempty"`
	Key  string   `json:"key,omitempty"`
	Tags []string `json:"tags"`
	data string   // JSON, which may be shared with the feed
}

// write writes the JSON. The data is not copied, so that a caller who does not
// read keeps no memory in use.
func (c plainChange) write(w io.Writer) error {
	head, err := oneLine(c)
	if err == nil {
		_, err = fmt.Fprintf(w, `%s,"data":`, head[:len(head)-1])
	}
	if err == nil {
		_, err = io.WriteString(w, c.data)
	}
	if err == nil {
		_, err = io.WriteString(w, "}")
	}
	return err
}

// oneLine returns the JSON of a value, without escaping < > &.
func oneLine(value any) ([]byte, error) {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	err := to.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

func (c Changes) plain(e *state.Event, s *state.State) (plainChange, error) {
	out := plainChange{ID: uint64(e.Revision), Time: e.Wall.UnixNano(), Tags: tagsOf(e)}
	if out.Tags == nil {
		out.Tags = []string{}
	}
	if e.Kind != interrex.UserChange {
		out.Kind, out.Key = e.Kind, e.Key
	}
	if u, is := e.Value.(*change.User); is {
		out.data = u.Data
		return out, nil
	}
	data, err := c.data(e, s)
	out.data = string(data)
	return out, err
}

// plainChanges serves /changes.
type plainChanges struct {
	server  *Server
	changes Changes
}

// routes adds the paths.
func (p plainChanges) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /changes", p.handle(p.list))
	mux.HandleFunc("POST /changes", p.handle(p.append))
	mux.HandleFunc("GET /changes/{id}", p.handle(p.get))
	mux.HandleFunc("/changes", onlyMethods("GET, POST"))
	mux.HandleFunc("/changes/{id}", onlyMethods("GET"))
}

// handle answers an error, which only then is the answer.
func (p plainChanges) handle(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return p.server.plain(ChangesSetting, do)
}

// plain makes a handler of plain HTTP: it is off where its service is, ends with
// the server, and answers an error as JSON.
func (s *Server) plain(setting string, do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.served(setting, callerOf(r.Context()))
		if _, bad := url.ParseQuery(r.URL.RawQuery); err == nil && bad != nil {
			err = interrex.Errorf(interrex.KindInvalid, "?%.80s: it cannot be read: %.80v", r.URL.RawQuery, bad)
		}
		if err == nil {
			err = s.calls.enter()
		}
		if err != nil {
			plainError(w, err)
			return
		}
		defer s.calls.leave(1)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.calls.ended, cancel)()
		if err := do(w, r.WithContext(ctx)); err != nil {
			if s.calls.draining() && errors.Is(err, context.Canceled) {
				err = drainingError()
			}
			plainError(w, err)
		}
	}
}

// onlyMethods refuses all methods but those that a path has.
func onlyMethods(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		plainAnswer(w, http.StatusMethodNotAllowed, map[string]string{"error": "invalid: " + r.Method + ": " + r.URL.Path + " takes " + allowed})
	}
}

// plainError answers an error.
func plainError(w http.ResponseWriter, err error) {
	detail := wire.FromDetail(wire.Detail(err))
	if wait := interrex.RetryAfter(err); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(max(1, wait.Round(time.Second)/time.Second))))
	}
	plainAnswer(w, detail.Kind.Numbers().HTTP, shownError(detail))
}

// shownError is an error as plain HTTP shows it.
func shownError(detail *interrex.Error) map[string]any {
	answer := map[string]any{"error": detail.Error()}
	if detail.FirstRevision > 0 {
		answer["first"] = uint64(detail.FirstRevision)
	}
	return answer
}

// plainAnswer answers with JSON.
func plainAnswer(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	_ = to.Encode(answer) // the caller has gone
}

// onlyQuery refuses unknown parameters, and one that is given twice, unless its
// name has an asterisk here.
func onlyQuery(q url.Values, names ...string) error {
	for name, values := range q {
		switch {
		case slices.Contains(names, name+"*"):
		case len(names) == 0:
			return interrex.Errorf(interrex.KindInvalid, "?%.80s: there is no such parameter: this path takes none", name)
		case !slices.Contains(names, name):
			return interrex.Errorf(interrex.KindInvalid, "?%.80s: there is no such parameter: this path takes %s", name, strings.ReplaceAll(strings.Join(names, ", "), "*", ""))
		case len(values) > 1:
			return interrex.Errorf(interrex.KindInvalid, "?%s: it is given %d times, and may be given once", name, len(values))
		}
	}
	return nil
}

// number reads a parameter that is a number; 0: it is not there.
func number(q url.Values, name string, bits int) (uint64, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, interrex.Errorf(interrex.KindInvalid, "?%s: %.80q is not a number from 0 to %d", name, text, uint64(1)<<(bits-1)-1+uint64(1)<<(bits-1))
	}
	return n, nil
}

// period reads a parameter that is seconds, or a duration.
func period(q url.Values, name string) (time.Duration, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil || d < 0 {
		return 0, interrex.Errorf(interrex.KindInvalid, "?%s: %.80q is neither seconds nor a duration such as 30s", name, text)
	}
	return d, nil
}

// listOf reads a parameter that may be given several times, or has commas.
func listOf(q url.Values, name string) (all []string) {
	for _, text := range q[name] {
		for _, one := range strings.Split(text, ",") {
			if one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// request reads the parameters of a list.
func (p plainChanges) request(r *http.Request) (*interrexv1.ChangeServiceListRequest, error) {
	q := r.URL.Query()
	err := onlyQuery(q, "since", "limit", "block", "tag*", "kind*", "prefix")
	since, e1 := number(q, "since", 64)
	limit, e2 := number(q, "limit", 32)
	block, e3 := period(q, "block")
	if err := cmp.Or(e1, e2, e3, err); err != nil {
		return nil, err
	}
	m := &interrexv1.ChangeServiceListRequest{
		Since: since, Limit: uint32(limit), Tags: q["tag"], Kinds: listOf(q, "kind"), Prefix: q.Get("prefix"),
	}
	if block > 0 {
		m.Block = durationpb.New(block)
	}
	if len(m.Kinds) == 0 {
		m.Kinds = []string{interrex.UserChange}
	}
	return m, nil
}

func (p plainChanges) list(w http.ResponseWriter, r *http.Request) error {
	m, err := p.request(r)
	if err != nil {
		return err
	}
	q, block, err := p.changes.query(m)
	if err != nil {
		return err
	}
	if follows(r) {
		return p.stream(w, r, q)
	}
	if err := p.server.begun(); err != nil {
		return err
	}
	if err := p.server.notAhead(r.Context(), callerOf(r.Context()), q.Since); err != nil {
		return err
	}
	page, err := p.changes.page(r.Context(), q, block)
	if err != nil {
		return err
	}
	items := make([]plainChange, len(page.Items))
	for i, e := range page.Items {
		if items[i], err = p.changes.plain(e, p.server.config.State); err != nil {
			return err
		}
	}
	w.Header().Set(HeaderRevision, page.Revision.String())
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	if writePage(out, items, page) == nil {
		_ = out.Flush() // or the caller has gone
	}
	return nil
}

// follows reports whether the caller asks for server-sent events.
func follows(r *http.Request) bool {
	return r.Method == http.MethodGet && accepts(r, "text/event-stream")
}

func writePage(w io.Writer, items []plainChange, page change.Page) error {
	between := `{"changes":[`
	for _, item := range items {
		if _, err := io.WriteString(w, between); err != nil {
			return err
		}
		if err := item.write(w); err != nil {
			return err
		}
		between = ","
	}
	if len(items) > 0 {
		between = ""
	}
	_, err := fmt.Fprintf(w, `%s],"atStart":%t,"atEnd":%t,"first":%d,"last":%d}`+"\n", between, page.AtStart, page.AtEnd, uint64(page.First), uint64(page.Last))
	return err
}

// accepts reports whether the caller asks for a type of answer.
func accepts(r *http.Request, want string) bool {
	for _, one := range strings.Split(r.Header.Get("Accept"), ",") {
		if t, _, err := mime.ParseMediaType(one); err == nil && t == want {
			return true
		}
	}
	return false
}

func (p plainChanges) get(w http.ResponseWriter, r *http.Request) error {
	if err := onlyQuery(r.URL.Query()); err != nil {
		return err
	}
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return interrex.Errorf(interrex.KindInvalid, "change %.80q: its id is a number", r.PathValue("id"))
	}
	if err := p.server.current(r.Context(), callerOf(r.Context())); err != nil {
		return err
	}
	e, err := p.changes.find(interrex.Revision(id))
	if err != nil {
		return err
	}
	one, err := p.changes.plain(e, p.server.config.State)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if one.write(w) == nil {
		_, _ = io.WriteString(w, "\n") // or the caller has gone
	}
	return nil
}

// append takes an object with data, or any other JSON, which is the data.
func (p plainChanges) append(w http.ResponseWriter, r *http.Request) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		plainAnswer(w, http.StatusUnsupportedMediaType, map[string]string{"error": "invalid: Content-Type: a change is JSON: send the header Content-Type: application/json"})
		return nil
	}
	if err := onlyQuery(r.URL.Query()); err != nil {
		return err
	}
	body, err := plainBody(w, r)
	if err != nil {
		return err
	}
	m, err := changeOf(body)
	if err != nil {
		return err
	}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	o := p.server.alone(r.Context(), callerOf(r.Context()), p.server.method(interrexv1.ChangeServiceAppendProcedure), m)
	answer := &interrexv1.ChangeServiceAppendResponse{}
	if err := made(o, answer); err != nil {
		return err
	}
	w.Header().Set(HeaderRevision, strconv.FormatUint(answer.GetRevision(), 10))
	plainAnswer(w, http.StatusOK, map[string]uint64{"_id": answer.GetRevision()})
	return nil
}

// plainBody reads the body of a request, which may be compressed.
func plainBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var body []byte
	var err error
	var large *http.MaxBytesError
	encoding := r.Header.Get("Content-Encoding")
	if encoding != "" && encoding != "identity" && encoding != "gzip" {
		return nil, interrex.Errorf(interrex.KindInvalid, "Content-Encoding: %.80q is not known: send the body as it is, or with gzip", encoding)
	}
	tooLarge := r.ContentLength > maxPlainBody && r.Header.Get("Expect") != "" // who asks first need not send it
	if !tooLarge {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxPlainBody))
	}
	if err == nil && !tooLarge && encoding == "gzip" {
		return unzipped(body)
	}
	if tooLarge || errors.As(err, &large) {
		return nil, interrex.Errorf(interrex.KindTooLarge, "body: at most %d bytes are allowed", maxPlainBody)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, interrex.Errorf(interrex.KindInvalid, "body: not all of it arrived in time")
	}
	if err != nil {
		return nil, interrex.Errorf(interrex.KindInvalid, "body: it ends too early: %v", err)
	}
	return body, nil
}

// unzipped decompresses a body, up to the limit of one that is not compressed.
func unzipped(body []byte) ([]byte, error) {
	from, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(from, maxPlainBody+1))
	}
	switch {
	case err != nil:
		return nil, interrex.Errorf(interrex.KindInvalid, "body: the header Content-Encoding says gzip, and it cannot be unpacked: %v", err)
	case len(body) > maxPlainBody:
		return nil, interrex.Errorf(interrex.KindTooLarge, "body: at most %d bytes are allowed, unpacked too", maxPlainBody)
	}
	return body, nil
}

// plainEnvelope reads the headers that say what a request's fields say.
func plainEnvelope(r *http.Request, id *string, attempt *uint32, fence **interrexv1.Fence) error {
	*id = r.Header.Get(HeaderRequestID)
	if text := r.Header.Get(HeaderAttempt); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return interrex.Errorf(interrex.KindInvalid, "%s: %.80q is not a number", HeaderAttempt, text)
		}
		*attempt = uint32(n)
	}
	if text := r.Header.Get(HeaderFence); text != "" {
		key, token, both := strings.Cut(strings.TrimSpace(text), " ")
		n, err := strconv.ParseUint(strings.TrimSpace(token), 10, 64)
		if !both || err != nil {
			return interrex.Errorf(interrex.KindInvalid, "%s: %.80q is not KEY TOKEN", HeaderFence, text)
		}
		*fence = &interrexv1.Fence{Key: key, Token: n}
	}
	return nil
}

// changeOf reads what is appended.
func changeOf(body []byte) (*interrexv1.ChangeServiceAppendRequest, error) {
	if len(body) == 0 {
		return nil, interrex.Errorf(interrex.KindInvalid, "data: missing: give any JSON, null too")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object["data"] == nil {
		return &interrexv1.ChangeServiceAppendRequest{Json: string(body)}, nil
	}
	if _, err := valueOf(body); err != nil {
		return nil, errNotForAll()
	}
	m := &interrexv1.ChangeServiceAppendRequest{Json: string(object["data"])}
	for name, text := range object {
		switch name {
		case "data", "_id", "_ts":
		case "tags":
			if err := json.Unmarshal(text, &m.Tags); err != nil {
				return nil, interrex.Errorf(interrex.KindInvalid, "tags: a list of strings is allowed")
			}
		default:
			return nil, interrex.Errorf(interrex.KindInvalid, "%.80q: beside data only tags is allowed: if this object is the data, put it into data", name)
		}
	}
	return m, nil
}

// made reads the answer of a call, made here or elsewhere.
func made[A any, PA wire.Message[A]](o outcome, to PA) error {
	if o.err != nil {
		return o.err
	}
	if o.message != nil {
		proto.Merge(to, o.message)
		return nil
	}
	m, err := read[A, PA](o.body)
	if err == nil {
		proto.Merge(to, m)
	}
	return err
}

// stream sends changes as server-sent events.
func (p plainChanges) stream(w http.ResponseWriter, r *http.Request, q change.Query) error {
	since, err := p.server.resumed(r, q.Since)
	if err != nil {
		return err
	}
	return p.server.events(w, r, eventSource{setting: ChangesSetting, since: since, match: q.Matches, show: func(e *state.Event) (sentEvent, error) {
		one, err := p.changes.plain(e, p.server.config.State)
		return sentEvent{kind: e.Kind, data: one}, err
	}})
}
