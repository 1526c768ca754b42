package operate

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/internal/door"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/standing"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/webhook"
	"github.com/interrex/interrex/wire"
)

// maxMessages is the largest number of operations of one message of a stream.
const maxMessages = wire.MaxOperations

// Forwarder carries operations to one other agent, many at once.
type Forwarder interface {
	// Send sends operations, together where they fit into a message. done is
	// called once for each, with its index in ops and its answer, on any
	// goroutine, and does not block: the answer's bytes, or an *interrex.Error,
	// of KindOutcomeUnknown when the operation may have happened. abandon ends
	// the wait for an answer.
	Send(ops []*interrexv1.Operation, done func(i int, body []byte, err error)) (abandon func(i int))
}

// Config says with what an operator works. Everything is needed, unless it
// is said to be optional.
type Config struct {
	Queue    *queue.Queue
	Visitors *Visitors
	// NextLeadership begins a watch of who leads: the function that it returns
	// returns the present at its first call, and waits for a change at every
	// later one, until its context ends.
	NextLeadership func() func(context.Context) (interrex.Leadership, error)
	// Forward returns the way to another agent. Optional: without it a request
	// that only the leader can do is KindNotLeader elsewhere.
	Forward func(ctx context.Context, id string) (Forwarder, error)
	// Hooks are all webhooks.
	Hooks func() []*webhook.Hook
	// Ask asks webhooks before an operation; wait waits for their verdict.
	Ask func([]*webhook.Hook, hookcaller.Question) (wait func(context.Context) error, err error)

	Clock clock.Clock
	// LeaderWait is how long a request waits for a leader to be elected, AnswerWait
	// bounds the time between an operation's last moment to enter the log, or the
	// end of its wait, and its answer, and SendWait is how long the peer of a stream
	// may take to accept a message.
	LeaderWait, AnswerWait, SendWait time.Duration
	// MaxOpen is how many operations may be open on one stream.
	MaxOpen int
}

// Server does the requests of callers at one agent.
type Server struct {
	config   Config
	standing *standing.Standing
	methods  *method.Registry
	calls    *door.Calls
}

// New makes an operator. standing and methods are those of the agent, and
// calls counts what is open.
func New(c Config, standing *standing.Standing, methods *method.Registry, calls *door.Calls) *Server {
	return &Server{config: c, standing: standing, methods: methods, calls: calls}
}

// OperateHandler serves StreamService/Operate.
func (s *Server) OperateHandler(o ...connect.HandlerOption) http.Handler {
	return connect.NewBidiStreamHandler(interrexv1.StreamServiceOperateProcedure, s.operate, append(o, connect.WithCodec(wire.StreamCodec{}))...)
}
