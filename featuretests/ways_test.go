package featuretests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// way is one way to an agent's leases.
type way struct {
	name   string
	leases interrex.Leases
}

// ways returns all ways to an agent.
func ways(t *testing.T, a *agent.Agent) []way {
	t.Helper()
	url := apiOf(a)
	h2c := &http.Transport{Protocols: &http.Protocols{}}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	http1 := &http.Transport{}
	t.Cleanup(h2c.CloseIdleConnections)
	t.Cleanup(http1.CloseIdleConnections)
	rpc := interrexv1.NewLeaseServiceClient(&http.Client{Transport: h2c}, url, connect.WithGRPC())
	return []way{
		{"the client's stream", dial(t, client.Config{Addresses: []string{url}}).Leases()},
		{"the client's unary calls", dial(t, client.Config{Addresses: []string{url}, OneShot: true}).Leases()},
		{"JSON over HTTP/1.1", unaryLeases{calls: plainCalls{url: url, http: &http.Client{Transport: http1}}}},
		{"gRPC", unaryLeases{calls: rpc}},
		{"the agent's own process", a.Leases()},
	}
}

// unaryLeases makes unary calls, one attempt each.
type unaryLeases struct {
	interrex.Leases // without what needs a stream
	calls           interface {
		Claim(context.Context, *connect.Request[interrexv1.ClaimRequest]) (*connect.Response[interrexv1.ClaimResponse], error)
		Extend(context.Context, *connect.Request[interrexv1.ExtendRequest]) (*connect.Response[interrexv1.ExtendResponse], error)
		Revoke(context.Context, *connect.Request[interrexv1.RevokeRequest]) (*connect.Response[interrexv1.RevokeResponse], error)
		Transfer(context.Context, *connect.Request[interrexv1.TransferRequest]) (*connect.Response[interrexv1.TransferResponse], error)
		Pin(context.Context, *connect.Request[interrexv1.PinRequest]) (*connect.Response[interrexv1.PinResponse], error)
		Unpin(context.Context, *connect.Request[interrexv1.UnpinRequest]) (*connect.Response[interrexv1.UnpinResponse], error)
		Get(context.Context, *connect.Request[interrexv1.GetRequest]) (*connect.Response[interrexv1.GetResponse], error)
		List(context.Context, *connect.Request[interrexv1.ListRequest]) (*connect.Response[interrexv1.ListResponse], error)
		History(context.Context, *connect.Request[interrexv1.HistoryRequest]) (*connect.Response[interrexv1.HistoryResponse], error)
	}
}

// called makes one call and returns its answer.
func called[Q, M, A any](ctx context.Context, call func(context.Context, *connect.Request[Q]) (*connect.Response[M], error), q *Q, from func(*M) (A, error), write bool) (a A, err error) {
	m, err := call(ctx, connect.NewRequest(q))
	if err != nil {
		return a, wire.FromError(err, write)
	}
	return from(m.Msg)
}

func (u unaryLeases) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	return called(ctx, u.calls.Claim, &interrexv1.ClaimRequest{
		Key: r.Key.String(), Holder: r.Holder, Ttl: wire.Optional(r.TTL), RequestId: r.RequestID, Attempt: r.Attempt,
		Wait: wire.Optional(r.Wait), Takeover: r.Takeover, Metadata: r.Metadata, Fence: wire.Fence(r.Fence),
	}, func(m *interrexv1.ClaimResponse) (interrex.LeaseAnswer, error) {
		a, err := answerOf(m.Lease, m.Replayed, m.Revision)
		a.Attempt = m.Attempt
		return a, err
	}, true)
}

func answerOf(m *interrexv1.Lease, replayed bool, revision uint64) (interrex.LeaseAnswer, error) {
	l, err := wire.FromLease(m)
	return interrex.LeaseAnswer{Lease: l, Replayed: replayed, Revision: interrex.Revision(revision)}, err
}

func (u unaryLeases) Extend(ctx context.Context, r interrex.ExtendRequest) (interrex.LeaseAnswer, error) {
	return called(ctx, u.calls.Extend, &interrexv1.ExtendRequest{Key: r.Key.String(), Token: uint64(r.Token), Ttl: wire.Optional(r.TTL)},
		func(m *interrexv1.ExtendResponse) (interrex.LeaseAnswer, error) {
			return answerOf(m.Lease, false, m.Revision)
		}, true)
}

func (u unaryLeases) Revoke(ctx context.Context, r interrex.RevokeRequest) (interrex.RevokeAnswer, error) {
	return called(ctx, u.calls.Revoke, &interrexv1.RevokeRequest{
		Key: r.Key.String(), Token: uint64(r.Token), Force: r.Force, RequestId: r.RequestID, Attempt: r.Attempt,
	}, func(m *interrexv1.RevokeResponse) (interrex.RevokeAnswer, error) {
		var in wire.Reader
		return interrex.RevokeAnswer{HolderUntil: in.Time("holder_until", m.HolderUntil), Replayed: m.Replayed, Revision: interrex.Revision(m.Revision)}, in.Err
	}, true)
}

func (u unaryLeases) Transfer(ctx context.Context, r interrex.TransferRequest) (interrex.LeaseAnswer, error) {
	return called(ctx, u.calls.Transfer, &interrexv1.TransferRequest{
		Key: r.Key.String(), Token: uint64(r.Token), To: r.To, Ttl: wire.Optional(r.TTL), RequestId: r.RequestID, Attempt: r.Attempt,
	}, func(m *interrexv1.TransferResponse) (interrex.LeaseAnswer, error) {
		return answerOf(m.Lease, m.Replayed, m.Revision)
	}, true)
}

func (u unaryLeases) Pin(ctx context.Context, r interrex.PinRequest) (interrex.LeaseAnswer, error) {
	return called(ctx, u.calls.Pin, &interrexv1.PinRequest{
		Key: r.Key.String(), Owner: r.Owner, Reason: r.Reason, For: wire.Optional(r.For), RequestId: r.RequestID, Attempt: r.Attempt,
	}, func(m *interrexv1.PinResponse) (interrex.LeaseAnswer, error) {
		return answerOf(m.Lease, m.Replayed, m.Revision)
	}, true)
}

func (u unaryLeases) Unpin(ctx context.Context, r interrex.PinRequest) (interrex.LeaseAnswer, error) {
	return called(ctx, u.calls.Unpin, &interrexv1.UnpinRequest{Key: r.Key.String(), Owner: r.Owner, RequestId: r.RequestID, Attempt: r.Attempt},
		func(m *interrexv1.UnpinResponse) (interrex.LeaseAnswer, error) {
			return answerOf(m.Lease, m.Replayed, m.Revision)
		}, true)
}

func (u unaryLeases) Get(ctx context.Context, k interrex.Key, o interrex.ReadOptions) (interrex.Lease, interrex.Revision, error) {
	a, err := called(ctx, u.calls.Get, &interrexv1.GetRequest{
		Key: k.String(), Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision),
	}, func(m *interrexv1.GetResponse) (interrex.LeaseAnswer, error) {
		return answerOf(m.Lease, false, m.Revision)
	}, false)
	return a.Lease, a.Revision, err
}

func (u unaryLeases) List(ctx context.Context, r interrex.ListRequest) (interrex.Page[interrex.Lease], error) {
	return called(ctx, u.calls.List, &interrexv1.ListRequest{
		Namespace: r.Namespace, Prefix: r.Prefix, PageSize: wire.Count(r.PageSize), PageToken: r.PageToken,
		Consistency: wire.Consistency(r.Consistency), MinRevision: uint64(r.MinRevision),
	}, func(m *interrexv1.ListResponse) (interrex.Page[interrex.Lease], error) {
		page := interrex.Page[interrex.Lease]{NextPageToken: m.NextPageToken, Revision: interrex.Revision(m.Revision)}
		for _, item := range m.Items {
			l, err := wire.FromLease(item)
			if err != nil {
				return page, err
			}
			page.Items = append(page.Items, l)
		}
		return page, nil
	}, false)
}

func (u unaryLeases) History(ctx context.Context, k interrex.Key) (past []interrex.PastLease, revision interrex.Revision, err error) {
	_, err = called(ctx, u.calls.History, &interrexv1.HistoryRequest{Key: k.String()}, func(m *interrexv1.HistoryResponse) (struct{}, error) {
		revision = interrex.Revision(m.Revision)
		for _, item := range m.Items {
			p, err := wire.FromPastLease(item)
			if err != nil {
				return struct{}{}, err
			}
			past = append(past, p)
		}
		return struct{}{}, nil
	}, false)
	return past, revision, err
}

// plainCalls posts JSON as curl does.
type plainCalls struct {
	url  string
	http *http.Client
}

// post makes one request; its error is the one in the JSON.
func post[Q, M any](ctx context.Context, p plainCalls, method string, q *connect.Request[Q]) (*connect.Response[M], error) {
	body, err := protojson.Marshal(any(q.Msg).(proto.Message))
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+exchange{method: method}.path(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	m := new(M)
	if resp.StatusCode == http.StatusOK {
		err = protojson.Unmarshal(got, any(m).(proto.Message))
		return connect.NewResponse(m), err
	}
	return nil, plainError(resp.StatusCode, got)
}

// plainError reads an error, whose parts must agree.
func plainError(status int, body []byte) error {
	var failure struct {
		Code    connect.Code
		Details []struct{ Debug json.RawMessage }
	}
	if err := json.Unmarshal(body, &failure); err != nil || len(failure.Details) != 1 {
		return fmt.Errorf("cannot read the error %d %s: %w", status, body, err)
	}
	var detail interrexv1.Error
	if err := protojson.Unmarshal(failure.Details[0].Debug, &detail); err != nil {
		return err
	}
	kind := interrex.Kind(detail.Kind)
	if kind.HTTP() != status || kind.RPC() != uint32(failure.Code) || !strings.Contains(string(body), detail.Kind) {
		return errors.New("the status, the code and the kind disagree: " + string(body))
	}
	return wire.FromDetail(&detail)
}

func (p plainCalls) Claim(ctx context.Context, q *connect.Request[interrexv1.ClaimRequest]) (*connect.Response[interrexv1.ClaimResponse], error) {
	return post[interrexv1.ClaimRequest, interrexv1.ClaimResponse](ctx, p, "Claim", q)
}

func (p plainCalls) Extend(ctx context.Context, q *connect.Request[interrexv1.ExtendRequest]) (*connect.Response[interrexv1.ExtendResponse], error) {
	return post[interrexv1.ExtendRequest, interrexv1.ExtendResponse](ctx, p, "Extend", q)
}

func (p plainCalls) Revoke(ctx context.Context, q *connect.Request[interrexv1.RevokeRequest]) (*connect.Response[interrexv1.RevokeResponse], error) {
	return post[interrexv1.RevokeRequest, interrexv1.RevokeResponse](ctx, p, "Revoke", q)
}

func (p plainCalls) Transfer(ctx context.Context, q *connect.Request[interrexv1.TransferRequest]) (*connect.Response[interrexv1.TransferResponse], error) {
	return post[interrexv1.TransferRequest, interrexv1.TransferResponse](ctx, p, "Transfer", q)
}

func (p plainCalls) Pin(ctx context.Context, q *connect.Request[interrexv1.PinRequest]) (*connect.Response[interrexv1.PinResponse], error) {
	return post[interrexv1.PinRequest, interrexv1.PinResponse](ctx, p, "Pin", q)
}

func (p plainCalls) Unpin(ctx context.Context, q *connect.Request[interrexv1.UnpinRequest]) (*connect.Response[interrexv1.UnpinResponse], error) {
	return post[interrexv1.UnpinRequest, interrexv1.UnpinResponse](ctx, p, "Unpin", q)
}

func (p plainCalls) Get(ctx context.Context, q *connect.Request[interrexv1.GetRequest]) (*connect.Response[interrexv1.GetResponse], error) {
	return post[interrexv1.GetRequest, interrexv1.GetResponse](ctx, p, "Get", q)
}

func (p plainCalls) List(ctx context.Context, q *connect.Request[interrexv1.ListRequest]) (*connect.Response[interrexv1.ListResponse], error) {
	return post[interrexv1.ListRequest, interrexv1.ListResponse](ctx, p, "List", q)
}

func (p plainCalls) History(ctx context.Context, q *connect.Request[interrexv1.HistoryRequest]) (*connect.Response[interrexv1.HistoryResponse], error) {
	return post[interrexv1.HistoryRequest, interrexv1.HistoryResponse](ctx, p, "History", q)
}
