package api

import (
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/state"
)

// Message is a pointer to a generated message T.
type Message[T any] interface {
	*T
	proto.Message
}

// Service has the methods of one service of a table. Together they are all
// methods of the service in its .proto, where each carries the option
// interrex.v1.method.
type Service struct {
	// Methods are the unary methods; see Write and Read.
	Methods []Method
	// Watches are the methods that stream events; see Watch.
	Watches []WatchMethod
	// Data makes the JSON document of an event of the service's table, as the
	// change feed and webhooks show it. nil: they show null.
	Data func(*state.Event, *state.State) ([]byte, error)
}
