package client

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// unary sends the attempts of one request to an agent as unary calls.
type unary struct {
	*endpoint
	request *request
}

// call makes the unary call for an operation.
func (u unary) CallWithin(ctx context.Context, limit time.Duration, op *interrexv1.Operation) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m := proto.Clone(u.request.message)
	err := u.request.put(m.ProtoReflect(), op)
	if err != nil {
		return nil, err
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot call %s: %v", u.request.procedure, err)
	}
	c := connect.NewClient[[]byte, []byte](u.calls, u.url+u.request.procedure,
		connect.WithCodec(bytesCodec{}), connect.WithInterceptors(connect.UnaryInterceptorFunc(u.epochs.unary)))
	q := connect.NewRequest(&body)
	if op.KnownRevision > 0 {
		q.Header().Set(wire.HeaderKnown, strconv.FormatUint(op.KnownRevision, 10))
	}
	answer, err := c.CallUnary(ctx, q)
	if err != nil {
		return nil, wire.FromError(err, u.request.method.Writes())
	}
	return *answer.Msg, nil
}

// put sets the fields of a request that a stream has in the envelope.
func (r *request) put(m protoreflect.Message, op *interrexv1.Operation) (err error) {
	set := func(name protoreflect.Name, v protoreflect.Value) {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Set(f, v)
		} else {
			err = interrex.Errorf(interrex.ErrInvalid, "%s: a unary call of %s carries none", name, r.procedure)
		}
	}
	if op.RequestId != "" {
		set("request_id", protoreflect.ValueOfString(op.RequestId))
		set("attempt", protoreflect.ValueOfUint32(op.Attempt))
	}
	if op.Fence != nil {
		set("fence", protoreflect.ValueOfMessage(op.Fence.ProtoReflect()))
	}
	if r.wait > 0 {
		set("wait", protoreflect.ValueOfMessage(durationpb.New(r.wait).ProtoReflect()))
	}
	return err
}

// bytesCodec sends protobuf messages that are already encoded.
type bytesCodec struct{}

// Name implements connect.Codec.
func (bytesCodec) Name() string { return "proto" }

// Marshal implements connect.Codec.
func (bytesCodec) Marshal(m any) ([]byte, error) {
	b, is := m.(*[]byte)
	if !is {
		return nil, fmt.Errorf("cannot encode a %T", m)
	}
	return *b, nil
}

// Unmarshal implements connect.Codec.
func (bytesCodec) Unmarshal(data []byte, m any) error {
	b, is := m.(*[]byte)
	if !is {
		return fmt.Errorf("cannot decode a %T", m)
	}
	*b = append((*b)[:0], data...)
	return nil
}

// one makes one unary call that the agent handles by itself; its error has a kind.
func one[Q, A any](ctx context.Context, call func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), m *Q, write bool) (*A, error) {
	answer, err := call(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, wire.FromError(err, write)
	}
	return answer.Msg, nil
}
