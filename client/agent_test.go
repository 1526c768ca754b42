package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = interrex.Key{Namespace: "mine", Name: "leader"}

// agent answers operations as a test determines, over real cleartext HTTP/2.
type agent struct {
	interrexv1.UnimplementedLeaseServiceHandler
	*httptest.Server

	mu      sync.Mutex
	epoch   string
	answer  func(op *operation) *interrexv1.Answer // nil: no answer
	refuse  error                                  // every stream, at its start
	watch   func(r *interrexv1.WatchRequest, send func(kind string, revision uint64) error) error
	counted watchCount
	gone    chan struct{} // closed when it stops
	stopped bool
	asked   []*interrexv1.StreamServiceWatchRequest // of the stream of watches
	ready   int
	got     []*operation
	unary   int
	streams int
}

func newAgent(t testing.TB) *agent {
	a := &agent{answer: granted, ready: http.StatusOK, gone: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle(interrexv1.NewStreamServiceHandler(streams{a}))
	mux.Handle(interrexv1.NewLeaseServiceHandler(a))
	mux.Handle(interrexv1.NewEngineServiceHandler(engine{agent: a}))
	mux.Handle(interrexv1.NewStateServiceHandler(replicated{}))
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.WriteHeader(a.ready)
		_, _ = io.WriteString(w, "[-] leader\n")
	})
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.mu.Lock(); a.epoch != "" {
			w.Header().Set(wire.HeaderEpoch, a.epoch)
		}
		a.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	a.Config.Protocols = new(http.Protocols)
	a.Config.Protocols.SetUnencryptedHTTP2(true)
	a.Config.Protocols.SetHTTP2(true)
	t.Cleanup(func() {
		if a.URL != "" {
			a.stop()
		}
	})
	return a
}

// stop ends the agent, once.
func (a *agent) stop() {
	if a.stopped {
		return
	}
	a.stopped = true
	close(a.gone)
	a.CloseClientConnections()
	a.Close()
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
		conn.ResponseHeader().Set(wire.HeaderRefused, "true")
		_ = conn.Send(nil)
		time.Sleep(50 * time.Millisecond) // in which a client could send something
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
		for _, id := range m.Cancels {
			a.note(&operation{Operation: &interrexv1.Operation{}, cancel: id})
		}
		for _, in := range m.Operations {
			op, err := readOperation(in)
			if err != nil {
				return err
			}
			answer := opened
			if _, opens := op.request.(*interrexv1.OpenNameRequest); !opens {
				answer = a.note(op)
			}
			answering.Go(func() {
				if v := answer(op); v != nil && ctx.Err() == nil {
					v.Id = op.Id
					sending.Lock()
					defer sending.Unlock()
					_ = conn.Send(&interrexv1.OperateResponse{Answers: []*interrexv1.Answer{v}})
				}
			})
		}
	}
}

// operation is what an agent received: an operation of a stream with its request, a
// unary call, or, without a request, a cancel.
type operation struct {
	*interrexv1.Operation
	request proto.Message
	cancel  uint64
}

// requests are the requests that an agent knows, by procedure.
func requests() map[string]proto.Message {
	return map[string]proto.Message{
		interrexv1.LeaseServiceClaimProcedure:    &interrexv1.ClaimRequest{},
		interrexv1.LeaseServiceExtendProcedure:   &interrexv1.ExtendRequest{},
		interrexv1.LeaseServiceRevokeProcedure:   &interrexv1.RevokeRequest{},
		interrexv1.LeaseServiceTransferProcedure: &interrexv1.TransferRequest{},
		interrexv1.LeaseServicePinProcedure:      &interrexv1.PinRequest{},
		interrexv1.LeaseServiceUnpinProcedure:    &interrexv1.UnpinRequest{},
		interrexv1.LeaseServiceGetProcedure:      &interrexv1.GetRequest{},
		interrexv1.LeaseServiceListProcedure:     &interrexv1.ListRequest{},
		interrexv1.LeaseServiceHistoryProcedure:  &interrexv1.HistoryRequest{},
		interrexv1.StateServiceRetireProcedure:   &interrexv1.RetireRequest{},
		interrexv1.StateServiceOpenNameProcedure: &interrexv1.OpenNameRequest{},

		interrexv1.StateServiceGetSettingsProcedure:    &interrexv1.GetSettingsRequest{},
		interrexv1.StateServiceProposeProcedure:        &interrexv1.ProposeRequest{},
		interrexv1.MaintenanceServiceStageProcedure:    &interrexv1.StageRequest{},
		interrexv1.MaintenanceServiceRestoreProcedure:  &interrexv1.RestoreRequest{},
		interrexv1.MaintenanceServiceUnstageProcedure:  &interrexv1.UnstageRequest{},
		interrexv1.StateServiceGroupProcedure:          &interrexv1.GroupRequest{},
		interrexv1.ResourceServiceReadProcedure:        &interrexv1.ResourceServiceReadRequest{},
		interrexv1.ResourceServiceWriteProcedure:       &interrexv1.ResourceServiceWriteRequest{},
		interrexv1.ResourceServiceDeleteProcedure:      &interrexv1.ResourceServiceDeleteRequest{},
		interrexv1.ResourceServiceClearProcedure:       &interrexv1.ResourceServiceClearRequest{},
		interrexv1.ResourceServiceListProcedure:        &interrexv1.ResourceServiceListRequest{},
		interrexv1.ResourceServiceListByOwnerProcedure: &interrexv1.ResourceServiceListByOwnerRequest{},
		interrexv1.ChangeServiceAppendProcedure:        &interrexv1.ChangeServiceAppendRequest{},
		interrexv1.ChangeServiceListProcedure:          &interrexv1.ChangeServiceListRequest{},
		interrexv1.WebhookServiceSetProcedure:          &interrexv1.WebhookServiceSetRequest{},
		interrexv1.WebhookServiceDeleteProcedure:       &interrexv1.WebhookServiceDeleteRequest{},
		interrexv1.WebhookServiceGetProcedure:          &interrexv1.WebhookServiceGetRequest{},
	}
}

func readOperation(in *interrexv1.Operation) (*operation, error) {
	for procedure, request := range requests() {
		if m, err := wire.MethodOf(procedure); err == nil && m.Number == in.Method {
			return &operation{Operation: in, request: request}, proto.Unmarshal(in.Body, request)
		}
	}
	return nil, fmt.Errorf("no method has the number %d", in.Method)
}

func (o *operation) GetClaim() *interrexv1.ClaimRequest {
	m, _ := o.request.(*interrexv1.ClaimRequest)
	return m
}

func (o *operation) GetExtend() *interrexv1.ExtendRequest {
	m, _ := o.request.(*interrexv1.ExtendRequest)
	return m
}

func (o *operation) GetRevoke() *interrexv1.RevokeRequest {
	m, _ := o.request.(*interrexv1.RevokeRequest)
	return m
}

func (o *operation) GetRetire() string {
	m, _ := o.request.(*interrexv1.RetireRequest)
	return m.GetName()
}

// opened answers the opening of a name for request ids, which no test has to deal with.
func opened(op *operation) *interrexv1.Answer {
	bits := op.request.(*interrexv1.OpenNameRequest).Bits
	return answered(&interrexv1.OpenNameResponse{Name: fmt.Sprintf("1-%016x", bits), Revision: 1})
}

// replicated is the agent's StateService.
type replicated struct {
	interrexv1.UnimplementedStateServiceHandler
}

func (replicated) GetSettings(context.Context, *connect.Request[interrexv1.GetSettingsRequest]) (*connect.Response[interrexv1.GetSettingsResponse], error) {
	return connect.NewResponse(&interrexv1.GetSettingsResponse{Revision: 42}), nil
}

func (replicated) OpenName(_ context.Context, r *connect.Request[interrexv1.OpenNameRequest]) (*connect.Response[interrexv1.OpenNameResponse], error) {
	return connect.NewResponse(&interrexv1.OpenNameResponse{Name: fmt.Sprintf("1-%016x", r.Msg.Bits), Revision: 1}), nil
}

// answered returns the answer of an operation.
func answered(m proto.Message) *interrexv1.Answer {
	body, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return &interrexv1.Answer{Result: &interrexv1.Answer_Body{Body: body}}
}

func (a *agent) note(op *operation) func(*operation) *interrexv1.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, op)
	return a.answer
}

func (a *agent) Claim(_ context.Context, r *connect.Request[interrexv1.ClaimRequest]) (*connect.Response[interrexv1.ClaimResponse], error) {
	op := &operation{request: r.Msg, Operation: &interrexv1.Operation{RequestId: r.Msg.RequestId, Attempt: r.Msg.Attempt}}
	op.KnownRevision, _ = strconv.ParseUint(r.Header().Get(wire.HeaderKnown), 10, 64)
	answer := a.note(op)
	a.mu.Lock()
	a.unary++
	a.mu.Unlock()
	v := answer(op)
	if e := v.GetError(); e != nil {
		return nil, wire.Error(wire.FromDetail(e))
	}
	m := &interrexv1.ClaimResponse{}
	return connect.NewResponse(m), proto.Unmarshal(v.GetBody(), m)
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

// received returns the operations so far.
func (a *agent) received() []*operation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*operation(nil), a.got...)
}

// granted answers every operation with success.
func granted(op *operation) *interrexv1.Answer {
	l := wire.Lease(interrex.Lease{Key: key, Holder: "me", Token: 7, TTL: time.Minute})
	switch op.request.(type) {
	case *interrexv1.ClaimRequest:
		return answered(&interrexv1.ClaimResponse{Lease: l, Revision: 7, Attempt: op.Attempt})
	case *interrexv1.ExtendRequest:
		return answered(&interrexv1.ExtendResponse{Lease: l, Revision: 7})
	case *interrexv1.RevokeRequest:
		return answered(&interrexv1.RevokeResponse{Revision: 8})
	case *interrexv1.TransferRequest:
		return answered(&interrexv1.TransferResponse{Lease: l, Revision: 7})
	case *interrexv1.PinRequest:
		return answered(&interrexv1.PinResponse{Lease: l, Revision: 7})
	case *interrexv1.UnpinRequest:
		return answered(&interrexv1.UnpinResponse{Lease: l, Revision: 7})
	case *interrexv1.GetRequest:
		return answered(&interrexv1.GetResponse{Lease: l, Revision: 7})
	case *interrexv1.ListRequest:
		return answered(&interrexv1.ListResponse{Items: []*interrexv1.Lease{l}, Revision: 7})
	case *interrexv1.HistoryRequest:
		return answered(&interrexv1.HistoryResponse{Items: []*interrexv1.HistoryItem{{Holder: "me", Token: 7}}, Revision: 7})
	case *interrexv1.RetireRequest:
		return answered(&interrexv1.RetireResponse{})
	}
	return nil
}

// failing answers with an error of a kind.
func failing(k interrex.Kind) *interrexv1.Answer {
	return &interrexv1.Answer{Result: &interrexv1.Answer_Error{Error: wire.Detail(interrex.Errorf(k, "as the test says"))}}
}

// dial returns a client of agents that ends with the test.
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
