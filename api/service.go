package api

import (
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/state"
)

// generated is a pointer to a generated message T.
type generated[T any] interface {
	*T
	proto.Message
}

// Service has the methods of a table's service: all methods of the service in its
// .proto, where each has the option interrex.v1.method.
type Service struct {
	// Methods are the unary methods; see Write and Read.
	Methods []Method
	// Watches are the methods that stream events; see Watch.
	Watches []WatchMethod
	// Data returns the JSON document of an event of the service's table for the
	// change feed and webhooks. nil: they show null.
	Data func(*state.Event, state.State) ([]byte, error)
}
