package services

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// Sizes of the feed's pages.
const (
	DefaultChanges = 100  // of a list without a limit
	MaxChanges     = 1000 // of a list
)

// Changes implements ChangeService, and the reads of /changes.
type Changes struct {
	Table *change.Table
	// Data are the documents of the events of all tables.
	Data Documents
	// Others is set if embedders' tables have kinds that are not known here.
	Others bool
}

// Service returns the methods.
func (c Changes) Service() method.Service {
	return method.Service{Setting: method.ChangesSetting, Methods: []method.Method{
		method.Echo(interrexv1.ChangeServiceAppendProcedure, machine.ChangeTable, appendChange, appended),
		method.Await(interrexv1.ChangeServiceListProcedure, c.list),
		method.Read(interrexv1.ChangeServiceGetProcedure, c.get),
	}, Watches: []method.Watch{
		method.NewWatch(api.Watch[interrexv1.ChangeServiceWatchResponse](interrexv1.ChangeServiceWatchProcedure, c.watch, c.message)),
	}}
}

// TagsOf returns the tags of a change.
func TagsOf(e *state.Event) []string {
	if u, is := e.Value.(*change.User); is {
		return u.Tags
	}
	return nil
}

// message returns the message of a change.
func (c Changes) message(e *state.Event, s state.State) (*interrexv1.Change, error) {
	m := &interrexv1.Change{Revision: uint64(e.Revision), Kind: e.Kind, Key: e.Key, Tags: TagsOf(e), Time: wire.Timestamp(e.Wall)}
	text, err := c.Data.Of(e, s)
	if err != nil {
		return nil, err
	}
	if m.Data, err = ValueOf(text); err != nil {
		m.Data = structpb.NewNullValue() // data that cannot be shown must not hide other changes
	}
	return m, nil
}

// ErrNotForAll returns the error for JSON that not every reader accepts.
func ErrNotForAll() error {
	return interrex.Errorf(interrex.ErrInvalid, "data: a number beyond a double's range, a duplicate name in an object and half of a surrogate pair are not allowed")
}

// ValueOf returns the value of a JSON text.
func ValueOf(text []byte) (*structpb.Value, error) {
	v := &structpb.Value{}
	if err := protojson.Unmarshal(text, v); err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "changes: cannot decode the data of a change: %v", err)
	}
	return v, nil
}

// appended returns the response to an append, with the data of the request, which
// the record of a request does not have.
func appended(m *interrexv1.ChangeServiceAppendRequest, r state.Result) (*interrexv1.ChangeServiceAppendResponse, error) {
	reply, is := r.Reply.(*change.Reply)
	if !is {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	made := &interrexv1.Change{
		Revision: uint64(r.Revision), Kind: interrex.UserChange, Tags: m.GetTags(), Data: m.GetData(),
		Time: wire.Timestamp(time.Unix(0, reply.Time).UTC()),
	}
	if m.GetJson() != "" {
		var err error
		if made.Data, err = ValueOf([]byte(m.GetJson())); err != nil {
			return nil, err
		}
	}
	return &interrexv1.ChangeServiceAppendResponse{Change: made, Replayed: r.Replayed, Revision: uint64(r.Revision)}, nil
}

func appendChange(m *interrexv1.ChangeServiceAppendRequest) (state.Command, error) {
	var c change.Append
	for _, tag := range m.GetTags() {
		if err := validation.Plain("tags", tag); err != nil {
			return &c, err
		}
	}
	tags := slices.Clone(m.GetTags())
	switch {
	case m.GetData() != nil && m.GetJson() != "":
		return &c, interrex.Errorf(interrex.ErrInvalid, "json: give either json or data")
	case m.GetData() == nil && m.GetJson() == "":
		return &c, interrex.Errorf(interrex.ErrInvalid, "data: missing: give any JSON value, which may be null")
	case m.GetData() != nil:
		text, err := protojson.Marshal(m.GetData())
		if err != nil {
			return &c, interrex.Errorf(interrex.ErrInvalid, "data: %v", err)
		}
		return change.NewEncoded(string(text), tags)
	}
	made, err := change.NewAppend(m.GetJson(), tags)
	if err != nil {
		return made, err
	}
	if _, err := ValueOf([]byte(made.Data)); err != nil {
		return made, ErrNotForAll()
	}
	return made, nil
}

func (c Changes) get(m *interrexv1.ChangeServiceGetRequest, s state.State) (*interrexv1.ChangeServiceGetResponse, error) {
	e, err := c.Find(interrex.Revision(m.GetRevision()))
	if err != nil {
		return nil, err
	}
	out := &interrexv1.ChangeServiceGetResponse{}
	out.Change, err = c.message(e, s)
	return out, err
}

// Find returns the change of a revision, or an error that says why there is none.
func (c Changes) Find(r interrex.Revision) (*state.Event, error) {
	e, ok := c.Table.Get(r)
	if ok {
		return e, nil
	}
	if floor := c.Table.Floor(); r > 0 && r <= floor {
		return nil, interrex.Errorf(interrex.ErrNotFound, "change %d is no longer kept: only changes after %d are", r, floor)
	}
	return nil, interrex.Errorf(interrex.ErrNotFound, "there is no change %d", r)
}

// Query returns the query of a list, and how long it may wait.
func (c Changes) Query(m *interrexv1.ChangeServiceListRequest) (q change.Query, block time.Duration, err error) {
	var in wire.Reader
	block = in.Duration("block", m.GetBlock())
	switch {
	case in.Err != nil:
	case m.GetLimit() > MaxChanges:
		in.Fail(interrex.Errorf(interrex.ErrInvalid, "limit: at most %d is allowed, not %d", MaxChanges, m.GetLimit()))
	case block > limits.MaxBlock:
		in.Fail(interrex.Errorf(interrex.ErrInvalid, "block: at most %s is allowed, not %v", wording.Rounded(limits.MaxBlock), block))
	}
	in.Fail(c.validFilter(m))
	return change.Query{
		Since: interrex.Revision(m.GetSince()), Limit: cmp.Or(int(m.GetLimit()), DefaultChanges), Bytes: MaxPageBytes,
		Tags: m.GetTags(), Kinds: kindsOf(m), Prefix: m.GetPrefix(),
	}, block, in.Err
}

// maxFilter is how many tags, and how many kinds, a filter may have.
const maxFilter = 64

func (c Changes) validFilter(m interface {
	GetTags() []string
	GetKinds() []string
	GetPrefix() string
}) error {
	switch {
	case len(m.GetTags()) > maxFilter, len(m.GetKinds()) > maxFilter:
		return interrex.Errorf(interrex.ErrInvalid, "tags, kinds: at most %d of each are allowed, not %d and %d", maxFilter, len(m.GetTags()), len(m.GetKinds()))
	case len(m.GetPrefix()) > maxPrefix:
		return interrex.Errorf(interrex.ErrInvalid, "prefix: at most %d bytes are allowed, not %d", maxPrefix, len(m.GetPrefix()))
	}
	for _, tag := range m.GetTags() {
		if err := change.ValidateTag(tag); err != nil {
			return err
		}
	}
	for _, kind := range m.GetKinds() {
		if kind != interrex.Wildcard && !slices.Contains(changeKinds, kind) && (!c.Others || ofInterrex(kind)) {
			return interrex.Errorf(interrex.ErrInvalid, "kinds: %.80q is not one of %s, or %s for all", kind, strings.Join(changeKinds, ", "), interrex.Wildcard)
		}
	}
	return nil
}

// kindsOf returns the kinds of a filter; empty for all.
func kindsOf(m interface{ GetKinds() []string }) []string {
	if slices.Contains(m.GetKinds(), interrex.Wildcard) {
		return nil
	}
	return m.GetKinds()
}

// maxPrefix is larger than any key, in bytes.
const maxPrefix = 1024

// ofInterrex reports whether a kind has the form of interrex's own.
func ofInterrex(kind string) bool {
	family, _, _ := strings.Cut(kind, ".")
	return slices.ContainsFunc(changeKinds, func(own string) bool { return own == family || strings.HasPrefix(own, family+".") })
}

// changeKinds are the kinds of interrex's own changes.
var changeKinds = webhook.Kinds()

// list returns a page of the feed; it may wait for the first change.
func (c Changes) list(ctx context.Context, m *interrexv1.ChangeServiceListRequest, s *machine.State) (*interrexv1.ChangeServiceListResponse, error) {
	q, block, err := c.Query(m)
	if err != nil {
		return nil, err
	}
	p, err := c.Page(ctx, s, q, block)
	if err != nil {
		return nil, err
	}
	out := &interrexv1.ChangeServiceListResponse{
		First: uint64(p.First), Last: uint64(p.Last), AtStart: p.AtStart, AtEnd: p.AtEnd, Revision: uint64(p.Revision),
	}
	for _, e := range p.Items {
		item, err := c.message(e, s)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// Page returns a page of the feed. It waits for the first change, for at most block.
func (c Changes) Page(ctx context.Context, s *machine.State, q change.Query, block time.Duration) (change.Page, error) {
	if block <= 0 {
		p, err := c.Table.Read(q)
		return p, cmp.Or(s.Restored().Has(q.Since), err)
	}
	if err := s.Restored().Continues(q.Since); err != nil {
		return change.Page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, block)
	defer cancel()
	p, err := c.Table.Await(ctx, q)
	return p, cmp.Or(s.Restored().Continues(q.Since), err)
}

// watch returns the feed of a request to watch changes.
func (c Changes) watch(m *interrexv1.ChangeServiceWatchRequest, _ state.State) (api.Feed[*interrexv1.Change], error) {
	if err := c.validFilter(m); err != nil {
		return api.Feed[*interrexv1.Change]{}, err
	}
	q := change.Query{Tags: m.GetTags(), Kinds: kindsOf(m), Prefix: m.GetPrefix()}
	return api.Feed[*interrexv1.Change]{Since: interrex.Revision(m.GetSince()), Match: q.Matches, Scope: api.Scope{Kinds: q.Kinds, Tags: q.Tags, Prefix: q.Prefix}}, nil
}
