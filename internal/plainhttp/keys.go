package plainhttp

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

// plainValues serves /kv.
type plainValues struct {
	server    *Server
	resources services.Resources
	changes   *change.Table
}

// route handles the requests for /kv, and passes others to next. It comes before the
// mux, which would redirect keys with empty parts.
func (p plainValues) route(next http.Handler) http.Handler {
	one, all := p.handle(p.one), p.handle(p.all)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/kv":
			all(w, r)
		case strings.HasPrefix(r.URL.Path, "/kv/"):
			one(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// handle returns a handler that answers with the error of do, which names keys as
// the caller does.
func (p plainValues) handle(do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return p.server.plain(method.ResourcesSetting, func(w http.ResponseWriter, r *http.Request) error {
		return wire.KeyError(r.URL.Query().Get("namespace"), do(w, r))
	})
}

func (p plainValues) one(w http.ResponseWriter, r *http.Request) error {
	id, err := idOf(r)
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if follows(r) {
			return valueEvents{p}.one(w, r, id)
		}
		return p.get(w, r, id)
	case http.MethodPut:
		return p.put(w, r, id)
	case http.MethodDelete:
		return p.remove(w, r, id)
	}
	return notAllowed(w, "GET, HEAD, PUT, DELETE")
}

func (p plainValues) all(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if follows(r) {
			return valueEvents{p}.all(w, r)
		}
		return p.list(w, r)
	case http.MethodDelete:
		return p.clear(w, r)
	case http.MethodPost:
		return p.group(w, r)
	}
	return notAllowed(w, "GET, HEAD, DELETE, POST")
}

// idOf returns the resource of the key in the path.
func idOf(r *http.Request) (interrex.ResourceID, error) {
	return wire.KeyID(r.URL.Query().Get("namespace"), strings.TrimPrefix(r.URL.Path, "/kv/"))
}

// plainValue is the JSON of a value.
type plainValue struct {
	Key       string  `json:"key"`
	Namespace string  `json:"namespace"`
	Value     *string `json:"value,omitempty"`
	Binary    []byte  `json:"value_base64,omitempty"`
	Version   string  `json:"version"`
	Revision  uint64  `json:"revision"` // of its last write
}

func valueShown(m *interrexv1.Resource) (plainValue, error) {
	stored, err := wire.FromResource(m)
	if err != nil {
		return plainValue{}, err
	}
	value, err := wire.FromValue(stored.Data)
	out := plainValue{Key: stored.ID.Name, Namespace: stored.ID.Tenancy.Namespace, Version: stored.Version}
	out.Revision, _ = strconv.ParseUint(stored.Version, 10, 64) // a version is the revision of a write
	if text := string(value); utf8.Valid(value) {
		out.Value = &text
	} else {
		out.Binary = value
	}
	return out, err
}

// called calls a method, and returns its response.
func called[A proto.Message](p plainValues, r *http.Request, procedure string, m proto.Message) (answer A, err error) {
	made, err := p.server.operator.Do(r.Context(), procedure, m)
	if err == nil {
		answer = made.(A)
	}
	return answer, err
}

func (p plainValues) get(w http.ResponseWriter, r *http.Request, id interrex.ResourceID) error {
	q := r.URL.Query()
	err := onlyQuery(q, "namespace", "json", "since", "block", "consistency", "min_revision")
	c, min, e1 := consistencyOf(q)
	since, e2 := number(q, "since", 64)
	block, e3 := period(q, "block")
	if err := cmp.Or(err, e1, e2, e3); err != nil {
		return err
	}
	switch {
	case q.Has("block") && !q.Has("since"):
		return interrex.Errorf(interrex.ErrInvalid, "?block: give ?since too: the revision after which to wait for a change, or 0 to wait until there is a value")
	case block > limits.MaxBlock:
		return interrex.Errorf(interrex.ErrInvalid, "?block: at most %s is allowed, not %v", wording.Rounded(limits.MaxBlock), block)
	}
	read := &interrexv1.ResourceServiceReadRequest{Id: wire.ResourceID(id), Consistency: c, MinRevision: min}
	answer, err := called[*interrexv1.ResourceServiceReadResponse](p, r, interrexv1.ResourceServiceReadProcedure, read)
	if q.Has("since") && (err == nil || interrex.KindOf(err) == interrex.ErrNotFound) {
		changed, failed := p.await(r, id, interrex.Revision(since), block)
		if failed != nil {
			return failed
		}
		w.Header().Set(HeaderRevision, p.server.checker.State.Revision().String())
		if !changed {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		read.Consistency = interrexv1.Consistency_CONSISTENCY_EVENTUAL
		answer, err = called[*interrexv1.ResourceServiceReadResponse](p, r, interrexv1.ResourceServiceReadProcedure, read)
	}
	if err != nil {
		return err
	}
	return showValue(w, answer, q.Has("json"))
}

// showValue answers with a value: its bytes, or JSON.
func showValue(w http.ResponseWriter, m *interrexv1.ResourceServiceReadResponse, asJSON bool) error {
	one, err := valueShown(m.GetResource())
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", strconv.Quote(one.Version))
	h.Set(HeaderVersion, one.Version)
	h.Set(HeaderRevision, strconv.FormatUint(m.GetRevision(), 10))
	if asJSON {
		plainAnswer(w, http.StatusOK, one)
		return nil
	}
	body := one.Binary
	h.Set("Content-Type", "application/octet-stream")
	if one.Value != nil {
		body = []byte(*one.Value)
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // an error means that the caller has gone
	return nil
}

// await waits until a key is written or deleted after a revision, or for revision 0
// until it exists, and reports whether that happened.
func (p plainValues) await(r *http.Request, id interrex.ResourceID, since interrex.Revision, block time.Duration) (changed bool, err error) {
	s := p.server
	if err := s.checker.WaitSince(r.Context(), admission.CallerOf(r.Context()), since); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), block)
	defer cancel()
	q := change.Query{Since: since, Limit: services.MaxChanges, Bytes: services.MaxPageBytes, Kinds: []string{interrex.ResourceWritten, interrex.ResourceDeleted}, Prefix: id.String()}
	for {
		var row *resource.Record
		now := p.resources.Locked(s.checker.State, func(v resource.ReadView) { row = v.Get(id) })
		if row != nil && row.Revision > since || s.checker.State.Restored().Continues(since) != nil {
			return true, nil // a restore may have put an earlier value back
		}
		if q.Since == 0 {
			q.Since = now
		}
		page, err := p.changes.Await(ctx, q)
		switch {
		case interrex.KindOf(err) == interrex.ErrCompacted && row == nil:
			return true, nil // whether it existed at since is no longer known
		case interrex.KindOf(err) == interrex.ErrCompacted:
			q.Since = now // what was written since then would have another version
			continue
		case err != nil:
			return false, err
		case len(page.Items) == 0:
			return false, r.Context().Err()
		}
		for _, e := range page.Items {
			if e.Key == q.Prefix { // without a row, the first is a write
				return true, nil
			}
			q.Since = e.Revision
		}
	}
}

func (p plainValues) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	err := onlyQuery(q, "namespace", "prefix", "separator", "page_size", "page_token", "consistency", "min_revision")
	c, min, e1 := consistencyOf(q)
	size, e2 := number(q, "page_size", 32)
	if err := cmp.Or(err, e1, e2); err != nil {
		return err
	}
	id := wire.ValueID(q.Get("namespace"), "")
	page, err := called[*interrexv1.ResourceServiceListResponse](p, r, interrexv1.ResourceServiceListProcedure, &interrexv1.ResourceServiceListRequest{
		Type: wire.ResourceType(id.Type), Tenancy: wire.Tenancy(id.Tenancy), NamePrefix: q.Get("prefix"),
		Consistency: c, MinRevision: min, PageSize: uint32(size), PageToken: q.Get("page_token"),
		NamesOnly: q.Has("separator"), Separator: q.Get("separator"),
	})
	if err != nil {
		return err
	}
	w.Header().Set(HeaderRevision, strconv.FormatUint(page.GetRevision(), 10))
	answer := map[string]any{"next_page_token": page.GetNextPageToken(), "revision": page.GetRevision()}
	if q.Has("separator") {
		answer["keys"] = append([]string{}, page.GetNames()...)
	} else {
		items := []plainValue{}
		for _, m := range page.GetItems() {
			one, err := valueShown(m)
			if err != nil {
				return err
			}
			items = append(items, one)
		}
		answer["items"] = items
	}
	plainAnswer(w, http.StatusOK, answer)
	return nil
}

// ifMatch returns the version in If-Match; "" if there is none.
func ifMatch(r *http.Request) (string, error) {
	text := r.Header.Get("If-Match")
	version := strings.Trim(text, `"`)
	if text != "" && (version == "" || version == "*" || strings.ContainsAny(version, `",`)) {
		return "", interrex.Errorf(interrex.ErrInvalid, `If-Match: %s is not one "VERSION", as returned in ETag`, text)
	}
	return version, nil
}

func (p plainValues) put(w http.ResponseWriter, r *http.Request, id interrex.ResourceID) error {
	if err := onlyQuery(r.URL.Query(), "namespace"); err != nil {
		return err
	}
	version, err := ifMatch(r)
	none := r.Header.Get("If-None-Match")
	switch {
	case err != nil:
		return err
	case none != "" && none != "*":
		return interrex.Errorf(interrex.ErrInvalid, "If-None-Match: %s: only * is allowed: there must be no value", none)
	case none != "" && version != "":
		return interrex.Errorf(interrex.ErrInvalid, "If-None-Match: give either If-Match or If-None-Match")
	}
	body, err := plainBody(w, r)
	if err != nil {
		return err
	}
	m, err := wire.WriteValue(id, body, version, none != "")
	if err != nil {
		return err
	}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	answer, err := called[*interrexv1.ResourceServiceWriteResponse](p, r, interrexv1.ResourceServiceWriteProcedure, m)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", strconv.Quote(answer.GetResource().GetVersion()))
	w.Header().Set(HeaderVersion, answer.GetResource().GetVersion())
	answered(w, answer.GetRevision(), map[string]any{"version": answer.GetResource().GetVersion()})
	return nil
}

// answered writes the answer to a write.
func answered(w http.ResponseWriter, revision uint64, answer map[string]any) {
	w.Header().Set(HeaderRevision, strconv.FormatUint(revision, 10))
	answer["revision"] = revision
	plainAnswer(w, http.StatusOK, answer)
}

func (p plainValues) remove(w http.ResponseWriter, r *http.Request, id interrex.ResourceID) error {
	if err := onlyQuery(r.URL.Query(), "namespace"); err != nil {
		return err
	}
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	if r.Header.Get("If-None-Match") != "" {
		return interrex.Errorf(interrex.ErrInvalid, "If-None-Match: allowed only for PUT")
	}
	m := &interrexv1.ResourceServiceDeleteRequest{Id: wire.ResourceID(id), Version: version}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	answer, err := called[*interrexv1.ResourceServiceDeleteResponse](p, r, interrexv1.ResourceServiceDeleteProcedure, m)
	if err != nil {
		return err
	}
	answered(w, answer.GetRevision(), map[string]any{})
	return nil
}

func (p plainValues) clear(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if err := onlyQuery(q, "namespace", "prefix", "all"); err != nil {
		return err
	}
	switch all := q.Get("all"); {
	case q.Has("all") && (all != "true" || q.Get("prefix") != ""):
		return interrex.Errorf(interrex.ErrInvalid, "?all: only true is allowed, without a prefix: it deletes the whole namespace")
	case !q.Has("all") && q.Get("prefix") == "":
		return interrex.Errorf(interrex.ErrInvalid, "?prefix: missing: give the prefix of the keys to delete, or all=true to delete the whole namespace")
	}
	id := wire.ValueID(q.Get("namespace"), "")
	m := &interrexv1.ResourceServiceClearRequest{Type: wire.ResourceType(id.Type), Tenancy: wire.Tenancy(id.Tenancy), NamePrefix: q.Get("prefix")}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	answer, err := called[*interrexv1.ResourceServiceClearResponse](p, r, interrexv1.ResourceServiceClearProcedure, m)
	if err != nil {
		return err
	}
	answered(w, answer.GetRevision(), map[string]any{"deleted": answer.GetDeleted()})
	return nil
}

func (p plainValues) group(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if err := onlyQuery(q, "namespace"); err != nil {
		return err
	}
	body, err := plainBody(w, r)
	if err != nil {
		return err
	}
	operations, err := wire.ValueOperations(q.Get("namespace"), body)
	if err != nil {
		return err
	}
	m := &interrexv1.GroupRequest{}
	for i, one := range operations {
		packed, err := anypb.New(one)
		if err != nil {
			return validation.InGroup(i, err)
		}
		m.Operations = append(m.Operations, packed)
	}
	if err := plainEnvelope(r, &m.RequestId, &m.Attempt, &m.Fence); err != nil {
		return err
	}
	answer, err := called[*interrexv1.GroupResponse](p, r, interrexv1.StateServiceGroupProcedure, m)
	if err != nil {
		return err
	}
	answered(w, answer.GetRevision(), map[string]any{})
	return nil
}
