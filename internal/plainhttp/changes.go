package plainhttp

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/state"
)

// plainChange is a change as GET /changes shows it.
type plainChange struct {
	ID   uint64   `json:"_id"`
	Time int64    `json:"_ts"`
	Kind string   `json:"kind,omitempty"`
	Key  string   `json:"key,omitempty"`
	Tags []string `json:"tags"`
	data string   // JSON, which may be shared with the feed
}

// write writes the JSON. It does not copy the data, so that a caller that does not
// read uses no memory.
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

// shown returns a change as it is shown.
func (p plainChanges) shown(e *state.Event) (plainChange, error) {
	out := plainChange{ID: uint64(e.Revision), Time: e.Wall.UnixNano(), Tags: services.TagsOf(e)}
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
	data, err := p.changes.Data.Of(e, p.server.checker.State)
	out.data = string(data)
	return out, err
}

// pageMemory is what a page of changes takes.
const pageMemory = 2 * services.MaxPageBytes

// plainChanges serves /changes.
type plainChanges struct {
	server  *Server
	changes services.Changes
}

// routes adds the paths of /changes to mux.
func (p plainChanges) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /changes", p.handle(p.list))
	mux.HandleFunc("POST /changes", p.handle(p.append))
	mux.HandleFunc("GET /changes/{id}", p.handle(p.get))
	mux.HandleFunc("/changes", onlyMethods("GET, POST"))
	mux.HandleFunc("/changes/{id}", onlyMethods("GET"))
}

// handle returns a handler that answers with the error of do.
func (p plainChanges) handle(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return p.server.plain(method.ChangesSetting, do)
}

// request returns the request for a list, read from the parameters.
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
	q, block, err := p.changes.Query(m)
	if err != nil {
		return err
	}
	if follows(r) {
		return p.stream(w, r, q)
	}
	if err := p.server.allowed(r, interrexv1.ChangeServiceListProcedure, m); err != nil {
		return err
	}
	if err := p.server.checker.CheckApplied(); err != nil {
		return err
	}
	if err := p.server.checker.WaitSince(r.Context(), admission.CallerOf(r.Context()), q.Since); err != nil {
		return err
	}
	page, err := p.changes.Page(r.Context(), p.server.checker.State, q, block)
	if err != nil {
		return err
	}
	if err := admission.AccountOf(r.Context()).Take(pageMemory, admission.Large); err != nil {
		return err
	}
	items := make([]plainChange, len(page.Items))
	for i, e := range page.Items {
		if items[i], err = p.shown(e); err != nil {
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

func (p plainChanges) get(w http.ResponseWriter, r *http.Request) error {
	if err := onlyQuery(r.URL.Query()); err != nil {
		return err
	}
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "change %.80q: its id must be a number", r.PathValue("id"))
	}
	if err := p.server.allowed(r, interrexv1.ChangeServiceGetProcedure, &interrexv1.ChangeServiceGetRequest{}); err != nil {
		return err
	}
	if err := p.server.checker.WaitCurrent(r.Context(), admission.CallerOf(r.Context())); err != nil {
		return err
	}
	e, err := p.changes.Find(interrex.Revision(id))
	if err != nil {
		return err
	}
	one, err := p.shown(e)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if one.write(w) == nil {
		_, _ = io.WriteString(w, "\n") // or the caller has gone
	}
	return nil
}

// append appends a change: the body is an object with data, or the data itself.
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
	made, err := p.server.operator.Do(r.Context(), interrexv1.ChangeServiceAppendProcedure, m)
	if err != nil {
		return err
	}
	answer := made.(*interrexv1.ChangeServiceAppendResponse)
	w.Header().Set(HeaderRevision, strconv.FormatUint(answer.GetRevision(), 10))
	plainAnswer(w, http.StatusOK, map[string]uint64{"_id": answer.GetRevision()})
	return nil
}

// changeOf reads the change to append.
func changeOf(body []byte) (*interrexv1.ChangeServiceAppendRequest, error) {
	if len(body) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "data: missing: give any JSON value, which may be null")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object["data"] == nil {
		return &interrexv1.ChangeServiceAppendRequest{Json: string(body)}, nil
	}
	if _, err := services.ValueOf(body); err != nil {
		return nil, services.ErrNotForAll()
	}
	m := &interrexv1.ChangeServiceAppendRequest{Json: string(object["data"])}
	for name, text := range object {
		switch name {
		case "data", "_id", "_ts":
		case "tags":
			if err := json.Unmarshal(text, &m.Tags); err != nil {
				return nil, interrex.Errorf(interrex.ErrInvalid, "tags: give a list of strings")
			}
		default:
			return nil, interrex.Errorf(interrex.ErrInvalid, "%.80q: besides data only tags is allowed: if this object is the data, put it into data", name)
		}
	}
	return m, nil
}

// stream sends changes as server-sent events.
func (p plainChanges) stream(w http.ResponseWriter, r *http.Request, q change.Query) error {
	if err := p.server.allowed(r, interrexv1.ChangeServiceWatchProcedure, &interrexv1.ChangeServiceWatchRequest{Prefix: q.Prefix}); err != nil {
		return err
	}
	since, err := p.server.resumed(r, q.Since)
	if err != nil {
		return err
	}
	return p.server.events(w, r, eventSource{setting: method.ChangesSetting, since: since, scope: q.Scope(), match: q.Matches, show: func(e *state.Event) (sentEvent, error) {
		one, err := p.shown(e)
		return sentEvent{kind: e.Kind, data: one}, err
	}})
}
