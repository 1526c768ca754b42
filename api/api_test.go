package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

var errFailed = errors.New("failed")

func TestAWriteMakesACommandAndAnAnswer(t *testing.T) {
	command := &machine.Retire{}
	m := api.Write(interrexv1.LeaseServiceClaimProcedure, machine.LeaseTable,
		func(q *interrexv1.ClaimRequest) (state.Command, error) {
			if q.GetKey() == "" {
				return nil, errFailed
			}
			return command, nil
		},
		func(r state.Result, _ state.State) (*interrexv1.ClaimResponse, error) {
			return &interrexv1.ClaimResponse{Revision: uint64(r.Revision)}, r.Err
		})
	if m.Procedure != interrexv1.LeaseServiceClaimProcedure || m.Table != machine.LeaseTable || m.Look != nil {
		t.Errorf("it is %+v", m)
	}
	if c, err := m.Command(&interrexv1.ClaimRequest{Key: "a/b"}); c != state.Command(command) || err != nil {
		t.Errorf("its command is %v, %v", c, err)
	}
	if _, err := m.Command(&interrexv1.ClaimRequest{}); err != errFailed {
		t.Errorf("a request that is not valid: %v", err)
	}
	a, err := m.Answer(nil, state.Result{Revision: 7, Err: errFailed}, nil)
	if !proto.Equal(a, &interrexv1.ClaimResponse{Revision: 7}) || err != errFailed {
		t.Errorf("its answer is %v, %v", a, err)
	}
	fresh(t, m.NewRequest, &interrexv1.ClaimRequest{})
	fresh(t, m.NewResponse, &interrexv1.ClaimResponse{})
}

// fresh checks that a function returns new, empty messages of a type.
func fresh(t *testing.T, next func() proto.Message, want proto.Message) {
	t.Helper()
	if a, b := next(), next(); a == b || !proto.Equal(a, want) {
		t.Errorf("the messages are %T, and the same one: %v", a, a == b)
	}
}

func TestAReadIsServedAlone(t *testing.T) {
	m := api.Read(interrexv1.LeaseServiceGetProcedure, func(q *interrexv1.GetRequest, _ state.State) (*interrexv1.GetResponse, error) {
		if q.GetKey() == "" {
			return nil, connect.NewError(connect.CodeNotFound, errFailed)
		}
		return &interrexv1.GetResponse{Revision: 7}, nil
	})
	if m.Command != nil || m.Answer != nil {
		t.Errorf("it writes: %+v", m)
	}
	client := serve[interrexv1.GetRequest, interrexv1.GetResponse](t, m.Procedure, m.Handler(func(_ context.Context, h http.Header, q proto.Message) (any, error) {
		a, err := m.Look(q, nil)
		if h.Get("Content-Type") != "application/proto" {
			t.Errorf("its header is %v", h)
		}
		return &wire.Response{Message: a}, err
	}, connect.WithCodec(wire.RequestCodec{})))
	a, err := client.CallUnary(t.Context(), connect.NewRequest(&interrexv1.GetRequest{Key: "a/b"}))
	if err != nil || a.Msg.GetRevision() != 7 {
		t.Errorf("got %v, %v", a, err)
	}
	if _, err := client.CallUnary(t.Context(), connect.NewRequest(&interrexv1.GetRequest{})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("an error becomes %v", err)
	}
}

// serve serves a procedure to the client that it returns.
func serve[Q, A any](t *testing.T, procedure string, h http.Handler) *connect.Client[Q, A] {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return connect.NewClient[Q, A](s.Client(), s.URL+procedure)
}

// watch returns a watch whose feed is f.
func watch(f api.Feed[*interrexv1.LeaseEvent], err error) api.WatchMethod {
	return api.Watch[interrexv1.WatchResponse](interrexv1.LeaseServiceWatchProcedure,
		func(*interrexv1.WatchRequest, state.State) (api.Feed[*interrexv1.LeaseEvent], error) {
			return f, err
		},
		func(e *state.Event, _ state.State) (*interrexv1.LeaseEvent, error) {
			return &interrexv1.LeaseEvent{Kind: e.Kind}, errFailed
		})
}

func TestAFeedKeepsItsMeaningWithoutItsType(t *testing.T) {
	rows := []string{"a", "b", "c"}
	var after string
	var most int
	m := watch(api.Feed[*interrexv1.LeaseEvent]{
		Since: 7,
		Match: func(e *state.Event) bool { return e.Key == "a" },
		Snapshot: &api.Snapshot[*interrexv1.LeaseEvent]{
			Rows: func(from string, n int) api.Rows[*interrexv1.LeaseEvent] {
				after, most = from, n
				return api.Rows[*interrexv1.LeaseEvent]{More: true, Revision: 9, All: func(yield func(string, *interrexv1.LeaseEvent) bool) {
					for _, key := range rows {
						if !yield(key, &interrexv1.LeaseEvent{Kind: key}) {
							return
						}
					}
				}}
			},
			Compare: func(a, b string) int { return -1 },
			End:     func(at interrex.Revision) *interrexv1.LeaseEvent { return &interrexv1.LeaseEvent{Revision: uint64(at)} },
		},
	}, errFailed)
	f, err := m.Feed(&interrexv1.WatchRequest{}, nil)
	if err != errFailed || f.Since != 7 || !f.Match(&state.Event{Key: "a"}) || f.Match(&state.Event{Key: "b"}) || f.Snapshot.Compare("a", "b") != -1 {
		t.Fatalf("got %+v, %v", f, err)
	}
	if end := f.Snapshot.End(9); !proto.Equal(end, &interrexv1.LeaseEvent{Revision: 9}) {
		t.Errorf("it ends with %v", end)
	}
	page := f.Snapshot.Rows("x", 5)
	if after != "x" || most != 5 || !page.More || page.Revision != 9 {
		t.Errorf("a page after %q, of at most %d rows: %+v", after, most, page)
	}
	for n := 1; n <= len(rows); n++ { // stopped after n
		var keys []string
		for key, e := range page.All {
			if !proto.Equal(e, &interrexv1.LeaseEvent{Kind: key}) {
				t.Errorf("row %s is %v", key, e)
			}
			if keys = append(keys, key); len(keys) == n {
				break
			}
		}
		if !slices.Equal(keys, rows[:n]) {
			t.Errorf("the first %d rows are %q", n, keys)
		}
	}
	if e, err := m.Event(&state.Event{Kind: "x"}, nil); !proto.Equal(e, &interrexv1.LeaseEvent{Kind: "x"}) || err != errFailed {
		t.Errorf("an event is %v, %v", e, err)
	}
	fresh(t, m.NewRequest, &interrexv1.WatchRequest{})
	fresh(t, m.NewResponse, &interrexv1.WatchResponse{})
	fresh(t, m.NewEvent, &interrexv1.LeaseEvent{})
}

func TestAFeedWithoutASnapshotHasNone(t *testing.T) {
	f, err := watch(api.Feed[*interrexv1.LeaseEvent]{}, nil).Feed(&interrexv1.WatchRequest{}, nil)
	if f.Snapshot != nil || err != nil {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestAWatchIsServedAlone(t *testing.T) {
	m := watch(api.Feed[*interrexv1.LeaseEvent]{}, nil)
	client := serve[interrexv1.WatchRequest, interrexv1.WatchResponse](t, m.Procedure, m.Handler(
		func(_ context.Context, h http.Header, q proto.Message, send func(proto.Message) error) error {
			key := q.(*interrexv1.WatchRequest).GetKey()
			if h.Get("Content-Type") == "" {
				return errFailed
			}
			if err := send(nil); err != nil {
				return err
			}
			if err := send(&interrexv1.WatchResponse{Events: []*interrexv1.LeaseEvent{{Kind: key}}}); err != nil {
				return err
			}
			return connect.NewError(connect.CodeAborted, errFailed)
		}))
	s, err := client.CallServerStream(t.Context(), connect.NewRequest(&interrexv1.WatchRequest{Key: "a/b"}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var kinds []string
	for s.Receive() {
		for _, e := range s.Msg().GetEvents() {
			kinds = append(kinds, e.GetKind())
		}
	}
	if !slices.Equal(kinds, []string{"a/b"}) || connect.CodeOf(s.Err()) != connect.CodeAborted {
		t.Errorf("got %q, and %v", kinds, s.Err())
	}
}
