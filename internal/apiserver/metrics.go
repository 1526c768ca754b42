package apiserver

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex/internal/method"
)

// timed counts the calls of a service whose methods are not in the registry.
func timed(service protoreflect.ServiceDescriptor, by *method.Metrics, clock clock.Clock) connect.HandlerOption {
	t := timer{clock: clock, shares: map[string]*method.Latency{}}
	for i := range service.Methods().Len() {
		procedure := fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(i).Name())
		t.shares[procedure] = by.Latency(procedure)
	}
	return connect.WithInterceptors(t)
}

// timer measures calls, those that stream up to their end.
type timer struct {
	clock  clock.Clock
	shares map[string]*method.Latency // by procedure
}

var _ connect.Interceptor = timer{}

// WrapUnary implements connect.Interceptor.
func (t timer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		began := t.clock.Now()
		answer, err := next(ctx, r)
		t.note(r.Spec(), began, err)
		return answer, err
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (timer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (t timer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		began := t.clock.Now()
		err := next(ctx, conn)
		t.note(conn.Spec(), began, err)
		return err
	}
}

func (t timer) note(call connect.Spec, began time.Time, err error) {
	code := uint32(0)
	if err != nil {
		code = uint32(connect.CodeOf(err))
	}
	t.shares[call.Procedure].At(code).Observe(t.clock.Now().Sub(began).Seconds())
}
