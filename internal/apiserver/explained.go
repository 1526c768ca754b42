package apiserver

import (
	"context"
	"errors"
	"strings"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// explained returns the errors that the library makes of a stream's requests in
// JSON the detail that all others have.
type explained struct{}

var _ connect.Interceptor = explained{}

// WrapUnary implements connect.Interceptor. What a unary method refuses has its
// detail, and what is refused before is tidied: see tidy.
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
			return wire.Error(interrex.Errorf(interrex.KindTooLarge, "%s: %s", text, enveloping))
		case made.Code() == connect.CodeInvalidArgument, strings.HasPrefix(text, "protocol error"):
			return wire.Error(interrex.Errorf(interrex.KindInvalid, "%s: %s", text, enveloping))
		}
		return err
	}
}
