package apiserver

import (
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/internal/wire"
)

// jsonCodec is JSON as wire writes it. Unknown fields are refused, so that a
// misspelt field is an error and not a default.
type jsonCodec struct{ name string }

var _ connect.Codec = jsonCodec{}

// jsonCodecs take the place of Connect's own two.
func jsonCodecs() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithCodec(jsonCodec{"json"}),
		connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
	)
}

// Name implements connect.Codec.
func (c jsonCodec) Name() string { return c.name }

// Marshal implements connect.Codec.
func (c jsonCodec) Marshal(message any) ([]byte, error) {
	return c.MarshalAppend(nil, message)
}

// MarshalAppend saves connect a copy.
func (c jsonCodec) MarshalAppend(b []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("cannot encode %T: it is no protobuf message", message)
	}
	return wire.AppendJSON(b, m)
}

// Unmarshal implements connect.Codec.
func (c jsonCodec) Unmarshal(b []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("cannot decode %T: it is no protobuf message", message)
	}
	if err := wire.UnmarshalJSON(b, m); err != nil {
		return misread(b, m.ProtoReflect(), err)
	}
	return nil
}
