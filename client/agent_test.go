package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = interrex.Key{Namespace: "mine", Name: "leader"}

// agent answers operations as a test says, over real HTTP/2 in the clear.
type agent struct {
	interrexv1.UnimplementedLeaseServiceHandler
	*httptest.Server

	mu      sync.Mutex
	epoch   string
	answer  func(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer // nil: no answer
	refuse  error                                                         // every stream, at its start
	watch   func(r *interrexv1.WatchRequest, send func(kind string, revision uint64) error) error
	ready   int
	got     []*interrexv1.StreamOperation
	unary   int
	streams int
}

func newAgent(t testing.TB) *agent {
	a := &agent{answer: granted, ready: http.StatusOK}
	mux := http.NewServeMux()
	mux.Handle(interrexv1.NewStreamServiceHandler(a))
	mux.Handle(interrexv1.NewLeaseServiceHandler(a))
	mux.Handle(interrexv1.NewEngineServiceHandler(engine{agent: a}))
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.WriteHeader(a.ready)
		_, _ = io.WriteString(w, "[-] leader\n")
	})
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.mu.Lock(); a.epoch != "" {
			w.Header().Set(client.EpochHeader, a.epoch)
		}
		a.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	a.Config.Protocols = new(http.Protocols)
	a.Config.Protocols.SetUnencryptedHTTP2(true)
	a.Config.Protocols.SetHTTP2(true)
	t.Cleanup(func() {
		if a.URL != "" {
			a.CloseClientConnections()
			a.Close()
		}
	})
	return a
}

func startAgent(t testing.TB) *agent {
	a := newAgent(t)
	a.Start()
	return a
}

// Operate answers operations one by one; each in a goroutine of its own may
// take its time.
func (a *agent) Operate(ctx context.Context, conn *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]) error {
	a.mu.Lock()
	a.streams++
	refuse := a.refuse
	a.mu.Unlock()
	if refuse != nil {
		return wire.Error(refuse)
	}
	if err := conn.Send(nil); err != nil { // the headers go ahead
		return err
	}
	var sending sync.Mutex
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		m, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, op := range m.Operations {
			answer := a.note(op)
			answering.Go(func() {
				if v := answer(op); v != nil && ctx.Err() == nil {
					v.Id = op.Id
					sending.Lock()
					defer sending.Unlock()
					_ = conn.Send(&interrexv1.OperateResponse{Answers: []*interrexv1.StreamAnswer{v}})
				}
			})
		}
	}
}

func (a *agent) note(op *interrexv1.StreamOperation) func(*interrexv1.StreamOperation) *interrexv1.StreamAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, op)
	return a.answer
}

func (a *agent) Claim(_ context.Context, r *connect.Request[interrexv1.ClaimRequest]) (*connect.Response[interrexv1.ClaimResponse], error) {
	op := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Claim{Claim: r.Msg}}
	answer := a.note(op)
	a.mu.Lock()
	a.unary++
	a.mu.Unlock()
	v := answer(op)
	if e := v.GetError(); e != nil {
		return nil, wire.Error(wire.FromDetail(e))
	}
	return connect.NewResponse(v.GetClaim()), nil
}

func (a *agent) Watch(_ context.Context, r *connect.Request[interrexv1.WatchRequest], s *connect.ServerStream[interrexv1.WatchResponse]) error {
	a.mu.Lock()
	watch := a.watch
	a.mu.Unlock()
	err := watch(r.Msg, func(kind string, revision uint64) error {
		e := interrex.LeaseEvent{Kind: kind, Revision: interrex.Revision(revision), Lease: interrex.Lease{Key: key, Token: interrex.Token(revision)}}
		return s.Send(&interrexv1.WatchResponse{Event: wire.LeaseEvent(e)})
	})
	if err != nil {
		return wire.Error(err)
	}
	return nil
}

// engine is the agent's EngineService.
type engine struct {
	interrexv1.UnimplementedEngineServiceHandler
	agent *agent
}

func (e engine) Status(context.Context, *connect.Request[interrexv1.StatusRequest]) (*connect.Response[interrexv1.StatusResponse], error) {
	return connect.NewResponse(&interrexv1.StatusResponse{Id: e.agent.URL}), nil
}

func (engine) Reload(context.Context, *connect.Request[interrexv1.ReloadRequest]) (*connect.Response[interrexv1.ReloadResponse], error) {
	return connect.NewResponse(&interrexv1.ReloadResponse{Changed: []string{"raft"}}), nil
}

func (a *agent) set(change func(a *agent)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

// received gives the operations so far.
func (a *agent) received() []*interrexv1.StreamOperation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*interrexv1.StreamOperation(nil), a.got...)
}

// granted answers every operation as one wishes.
func granted(op *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
	l := interrex.LeaseAnswer{Lease: interrex.Lease{Key: key, Holder: "me", Token: 7, TTL: time.Minute}, Revision: 7}
	switch r := op.Request.(type) {
	case *interrexv1.StreamOperation_Claim:
		l.Attempt = r.Claim.Attempt
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Claim{Claim: wire.ClaimAnswer(l)}}
	case *interrexv1.StreamOperation_Extend:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Extend{Extend: wire.ExtendAnswer(l)}}
	case *interrexv1.StreamOperation_Revoke:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Revoke{Revoke: wire.RevokeAnswer(interrex.RevokeAnswer{Revision: 8})}}
	case *interrexv1.StreamOperation_Transfer:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Transfer{Transfer: wire.TransferAnswer(l)}}
	case *interrexv1.StreamOperation_Pin:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Pin{Pin: wire.PinAnswer(l)}}
	case *interrexv1.StreamOperation_Unpin:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Unpin{Unpin: wire.UnpinAnswer(l)}}
	case *interrexv1.StreamOperation_Get:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Get{Get: wire.GetAnswer(l.Lease, 7)}}
	case *interrexv1.StreamOperation_List:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_List{List: wire.ListAnswer(interrex.LeasePage{Items: []interrex.Lease{l.Lease}, Revision: 7})}}
	case *interrexv1.StreamOperation_History:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_History{History: wire.HistoryAnswer([]interrex.PastLease{{Holder: "me", Token: 7}}, 7)}}
	case *interrexv1.StreamOperation_Retire:
		return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Retire{Retire: &interrexv1.RetireResponse{}}}
	}
	return nil
}

// failing answers with an error of a kind.
func failing(k interrex.Kind) *interrexv1.StreamAnswer {
	return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_Error{Error: wire.Detail(interrex.Errorf(k, "as the test says"))}}
}

// dial makes a client of agents that ends with the test.
func dial(t testing.TB, c client.Config, agents ...*agent) *client.Client {
	t.Helper()
	for _, a := range agents {
		c.Addresses = append(c.Addresses, a.URL)
	}
	if c.Holder == "" {
		c.Holder = "me"
	}
	d, err := client.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// eventually waits until a test's condition holds: the other side is real.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(10 * time.Second)
	defer end.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("never: %s", what)
		}
	}
}
