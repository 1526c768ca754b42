package apiserver

import (
	"context"
	"errors"
	"strings"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// explained adds the usual detail to the errors that the RPC library makes of
// JSON requests on streams.
type explained struct{}

var _ connect.Interceptor = explained{}

// WrapUnary implements connect.Interceptor. Errors of unary methods have their
// detail already; earlier ones get it in tidy.
func (explained) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

// WrapStreamingClient implements connect.Interceptor.
func (explained) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (explained) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		made := (*connect.Error)(nil)
		if !errors.As(err, &made) || len(made.Details()) > 0 {
			return err
		}
		if unread := (*interrex.Error)(nil); errors.As(err, &unread) {
			return wire.Error(unread)
		}
		switch text := made.Message(); {
		case !strings.HasPrefix(conn.RequestHeader().Get("Content-Type"), "application/connect+json"):
		case made.Code() == connect.CodeResourceExhausted:
			return wire.Error(interrex.Errorf(interrex.ErrTooLarge, "%s: %s", text, enveloping))
		case made.Code() == connect.CodeInvalidArgument, strings.HasPrefix(text, "protocol error"):
			return wire.Error(interrex.Errorf(interrex.ErrInvalid, "%s: %s", text, enveloping))
		}
		return err
	}
}
