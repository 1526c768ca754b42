package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/state"
)

// Method declares a unary method. Use Write or Read to make one; its fields are for
// the server.
type Method struct {
	// Procedure is its name in generated code: /interrex.v1.LeaseService/Claim.
	Procedure string
	// NewRequest and NewResponse return new, empty messages.
	NewRequest, NewResponse func() proto.Message
	// Table, Command and Answer are set by Write.
	Table   state.TableID
	Command func(request proto.Message) (state.Command, error)
	Answer  func(request proto.Message, r state.Result, s state.State) (proto.Message, error)
	// Look is set by Read.
	Look func(request proto.Message, s state.State) (proto.Message, error)
	// Handler serves the method on its own: gRPC, Connect, and JSON over HTTP. What do
	// returns is for the codecs among the options, which get a pointer to it.
	Handler func(do func(ctx context.Context, h http.Header, request proto.Message) (any, error), o ...connect.HandlerOption) http.Handler
}

// Write returns a method that proposes a command to a table. procedure is its
// name in generated code: /interrex.v1.LeaseService/Claim.
//
// command returns the command of a request; its error is of ErrInvalid and names
// the field. The command is validated by its own Validate. The server handles the
// fields request_id, attempt, wait and fence: see interrex.v1.Operation. answer
// returns the response for the log's result, which is never an error.
func Write[Q, A any, PQ generated[Q], PA generated[A]](procedure string, table state.TableID, command func(PQ) (state.Command, error), answer func(state.Result, state.State) (PA, error)) Method {
	m := declare[Q, A, PQ, PA](procedure)
	m.Table = table
	m.Command = func(q proto.Message) (state.Command, error) { return command(q.(PQ)) }
	m.Answer = func(_ proto.Message, r state.Result, s state.State) (proto.Message, error) { return answer(r, s) }
	return m
}

// Read returns a method that reads. look runs once this agent may answer: for a
// linearizable read, which is the default, when it has applied everything committed
// before the read arrived. A request may relax this with the fields consistency and
// min_revision.
func Read[Q, A any, PQ generated[Q], PA generated[A]](procedure string, look func(PQ, state.State) (PA, error)) Method {
	m := declare[Q, A, PQ, PA](procedure)
	m.Look = func(q proto.Message, s state.State) (proto.Message, error) { return look(q.(PQ), s) }
	return m
}

func declare[Q, A any, PQ generated[Q], PA generated[A]](procedure string) Method {
	return Method{
		Procedure:   procedure,
		NewRequest:  func() proto.Message { return PQ(new(Q)) },
		NewResponse: func() proto.Message { return PA(new(A)) },
		Handler: func(do func(context.Context, http.Header, proto.Message) (any, error), o ...connect.HandlerOption) http.Handler {
			return connect.NewUnaryHandler(procedure, func(ctx context.Context, r *connect.Request[Q]) (*connect.Response[any], error) {
				a, err := do(ctx, r.Header(), PQ(r.Msg))
				if err != nil {
					return nil, err
				}
				return connect.NewResponse(&a), nil
			}, o...)
		},
	}
}
