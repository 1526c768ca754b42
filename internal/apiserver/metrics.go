package apiserver

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/juju/clock"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex/internal/method"
)

// timed counts the calls of a service whose methods are not in the registry.
func timed(service protoreflect.ServiceDescriptor, by *method.Metrics, clock clock.Clock) connect.HandlerOption {
	shares := map[string]*method.Latency{}
	for i := range service.Methods().Len() {
		procedure := fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(i).Name())
		shares[procedure] = by.Latency(procedure)
	}
	return connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			began := clock.Now()
			answer, err := next(ctx, r)
			code := uint32(0)
			if err != nil {
				code = uint32(connect.CodeOf(err))
			}
			shares[r.Spec().Procedure].At(code).Observe(clock.Now().Sub(began).Seconds())
			return answer, err
		}
	}))
}
