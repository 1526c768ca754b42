package watches

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
)

// Limits of the watches of one stream.
const (
	MaxWatches     = 4096      // open at a time
	MaxWatchCredit = 65_536    // events that a watch may have outstanding
	MaxWatchEvents = 1024      // in one message
	MaxWatchBytes  = 256 << 10 // in one message
	MaxWatchBody   = 2 << 10   // bytes of one watch's request
)

// Limits for one watch's part of a message, so that it does not delay the others.
const (
	MaxPresent = 256 // rows read at once under the table's lock
	maxRead    = 256 // events read at once for watches at the same position
)

// Server serves the watches of callers at one agent.
type Server struct {
	checker  *consistency.Checker
	calls    *admission.Calls
	methods  *method.Registry
	watches  map[uint32]*watchable // by number
	clock    clock.Clock
	sendWait time.Duration
}

// New returns a Server. calls counts the open calls, and sendWait is how long a peer
// may take to accept one message.
func New(checker *consistency.Checker, methods *method.Registry, calls *admission.Calls, by clock.Clock, sendWait time.Duration) *Server {
	s := &Server{checker: checker, methods: methods, calls: calls, clock: by, sendWait: sendWait, watches: map[uint32]*watchable{}}
	for number, m := range methods.Watches {
		s.watches[number] = &watchable{m, checker.State, checker.Guard}
	}
	return s
}

// Handlers returns, by procedure, the handlers that serve each watch on a call of its
// own, and all watches of a client on one stream. What they send is not compressed: that
// takes longer than all else, and again for each of them.
func (s *Server) Handlers(o ...connect.HandlerOption) map[string]http.Handler {
	o = append(slices.Clone(o), connect.WithCompressMinBytes(math.MaxInt))
	all := map[string]http.Handler{
		interrexv1.StreamServiceWatchProcedure: connect.NewBidiStreamHandler(interrexv1.StreamServiceWatchProcedure, s.watchAll, append(slices.Clone(o), connect.WithCodec(wire.StreamCodec{}))...),
	}
	for _, m := range s.watches {
		all[m.Procedure] = m.Declared.Handler(func(ctx context.Context, h http.Header, q proto.Message, send func(proto.Message) error) error {
			f, err := m.read(q)
			return s.watch(ctx, m, f, err, responses{m.Declared.NewResponse, send, strings.Contains(h.Get("Content-Type"), "json")})
		}, o...)
	}
	return all
}

// watch sends the events of a feed until the caller goes, the server drains, or the
// watch has to begin again. If unread is not nil, it fails with it.
func (s *Server) watch(ctx context.Context, m *watchable, f feed, unread error, to responses) error {
	if unread != nil {
		return wire.Error(unread)
	}
	if err := s.methods.Served(m.Setting, admission.CallerOf(ctx)); err != nil {
		return wire.Error(err)
	}
	if err := s.methods.Allowed(admission.CallerOf(ctx), m.Procedure, f.request); err != nil {
		return wire.Error(err)
	}
	ctx, leave, err := s.calls.Begin(ctx, admission.Lasting)
	if err != nil {
		return wire.Error(err)
	}
	defer leave()
	ctx, cancel := s.calls.EndOn(ctx)
	defer cancel()
	if err := s.checker.WaitSince(ctx, admission.CallerOf(ctx), f.since); err != nil {
		return s.checker.RPCError(orCause(ctx, err))
	}
	if err := s.watchAlone(ctx, &watched{feed: f, method: m, credit: math.MaxInt}, to); err != nil && ctx.Err() == nil || interrex.KindOf(context.Cause(ctx)) != "" {
		return s.checker.RPCError(orCause(ctx, err))
	}
	return nil
}

// read returns the watch that a caller's message requests.
func (s *Server) read(c admission.Caller, o *interrexv1.WatchOpen) (*watched, error) {
	method := s.watches[o.GetMethod()]
	switch {
	case o.GetCredit() > MaxWatchCredit:
		return nil, creditError(int64(o.GetCredit()))
	case len(o.GetBody()) > MaxWatchBody:
		return nil, interrex.Errorf(interrex.ErrTooLarge, "body: %d bytes are more than %d", len(o.GetBody()), MaxWatchBody)
	case method == nil:
		return nil, interrex.Errorf(interrex.ErrDisabled, "method: %d is not a watch that agent %s knows", o.GetMethod(), s.checker.ID)
	}
	f, err := method.decode(o.GetBody())
	if err == nil {
		err = s.methods.Served(method.Setting, c)
	}
	if err == nil {
		err = s.methods.Allowed(c, method.Procedure, f.request)
	}
	return &watched{feed: f, method: method, id: o.GetId(), credit: int(o.GetCredit())}, err
}

func creditError(n int64) error {
	return interrex.Errorf(interrex.ErrInvalid, "credit: %d events exceed the limit of %d", n, MaxWatchCredit)
}

// orCause returns the reason why the server itself ended ctx, else err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); interrex.KindOf(cause) != "" {
		return cause
	}
	return err
}

// watchAlone serves one watch on a call of its own, with the call's flow
// control.
func (s *Server) watchAlone(ctx context.Context, w *watched, to responses) error {
	a := newAudience(s, admission.CallerOf(ctx))
	defer a.close()
	if err := a.add(w); err != nil {
		return err
	}
	send := admission.Sender(ctx, s.clock, s.sendWait)
	// The headers tell the caller that the watch has begun: it misses nothing from
	// then on.
	if err := send(to.begin); err != nil {
		return err
	}
	for {
		if err := s.methods.Served(w.method.Setting, a.caller); err != nil {
			return err
		}
		var out message
		alarm, idle := a.gather(&out)
		if len(out.Events) > 0 {
			err := sendOut(ctx, admission.AccountOf(ctx), out.bytes, func() error {
				return send(func() error { return to.send(out.Events) })
			})
			if err != nil {
				return err
			}
		}
		if len(out.Ended) > 0 {
			return wire.FromDetail(out.Ended[0].GetError())
		}
		if !idle {
			alarm = always()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-alarm:
		case <-a.switched:
			a.switched = s.methods.Switches.UntilChanged().Done()
		}
	}
}

// The memory that a watch on a stream takes, beside its request, and that a byte of a
// message takes while it is sent.
const (
	watchBytes  = 2 << 10
	messageCost = 2
)

// sendOut sends a message with so many bytes of events once there is memory for it.
func sendOut(ctx context.Context, account *admission.Account, bytes int, send func() error) error {
	n := messageCost * bytes
	if err := account.Wait(ctx, n, admission.ShareFor(n)); err != nil {
		return err
	}
	defer account.Give(n)
	return send()
}

// always returns a closed channel.
func always() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// watchAll serves the watches of one client, until the client has closed its side
// or the server drains.
func (s *Server) watchAll(ctx context.Context, conn *connect.BidiStream[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]) error {
	ctx, leave, err := s.calls.Begin(ctx, admission.Lasting)
	if err != nil {
		return s.checker.RPCError(err)
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(ctx)
	ended, release := s.calls.EndedFor(ctx)
	defer release()
	st := &watchStream{
		server: s, conn: conn, ctx: ctx, ended: ended.Done(), audience: newAudience(s, admission.CallerOf(ctx)),
		requests: make(chan *interrexv1.StreamServiceWatchRequest), received: make(chan error, 1),
		caughtUp: make(chan error, 1),
	}
	st.audience.account = admission.AccountOf(ctx)
	defer st.audience.close()
	go func() { st.received <- st.receive() }()
	err = st.serve()
	cancel(err)
	st.work.Wait()
	if !st.over && admission.StopReading(ctx) {
		<-st.received // its read deadline has passed: it is about to return
	}
	return s.checker.RPCError(err)
}
