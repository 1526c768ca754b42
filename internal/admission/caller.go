package admission

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
)

// Door is the entrance through which a request arrived.
type Door int

const (
	Public Door = iota // the API port
	Socket             // the socket in the data directory
	Peer               // the cluster port, where other agents forward requests
	Inside             // the agent's own process
	// Forwarded is the cluster port, where agents without raft forward requests. Nobody
	// vouches for their callers: they are who their tokens say.
	Forwarded
)

// Caller identifies who makes a request, and what it may do. Only this package
// decides that.
type Caller struct {
	// Name is the authenticated name under which records of request ids are
	// kept; empty on an open API.
	Name string
	// Origin is the address at which a caller without a name was first seen; empty: it
	// is on the same machine. What is kept for its request ids counts in its share.
	Origin string
	// Known is a revision that the caller knew before the first attempt of this request,
	// as it says itself; 0: it does not.
	Known    interrex.Revision
	Operator bool
	Door     Door
	// Remote is where the request came from, for the audit: an address, or "socket". Of a
	// request that an agent without raft forwards, it is what that agent says, or its ID.
	Remote string
	// Via is the ID of the agent that forwards what its callers ask, at the door Peer, and
	// only there.
	Via string
	// share is that of a caller without a name for whom another agent asks; empty: it is
	// that of its connection.
	share string
	// Grant is what the caller may do unless it is an operator; nil: all that is not
	// reserved for operators.
	Grant *accesstoken.Grant
	// now returns the present grant of a name; nil: Grant is that of a token, which
	// does not change.
	now func() *accesstoken.Grant
	// doubt returns why it is not certain now what the caller may do; nil: it is.
	doubt func() error
}

// isEverybody reports whether the caller is an operator because the API is open.
func (c *Caller) isEverybody() bool { return c.Operator && c.Grant == nil && c.now == nil }

// RemoteOf returns the Caller.Remote of a request.
func RemoteOf(d Door, r *http.Request) string {
	if d == Socket {
		return "socket"
	}
	return r.RemoteAddr
}

type callerKey struct{}

// WithCaller returns ctx for a request of c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of the request of ctx. On the cluster port the forwarding
// agent has checked its caller, and names it in each operation.
func CallerOf(ctx context.Context) Caller {
	if c, is := ctx.Value(callerKey{}).(Caller); is {
		return c
	}
	return Caller{Operator: true}
}

// OnBehalf returns the caller of one operation: if another agent forwards it, the named
// one, or the one at an origin and in a share, else c itself.
func (c Caller) OnBehalf(name, origin, share string) Caller {
	if c.Door == Peer {
		c.Name, c.Origin, c.share = name, origin, share
	}
	return c
}

// Clone returns a copy that shares no memory with the message that named the caller.
func (c Caller) Clone() Caller {
	c.Name, c.Origin, c.share = strings.Clone(c.Name), strings.Clone(c.Origin), strings.Clone(c.share)
	return c
}

// Share returns whose share of the log the caller's operations are in, among those that
// came the same way: that of its name, or else of its connection to the agent that it has
// called. Those of an agent without raft, for whom nobody vouches, are in one.
func (c Caller) Share() string { return cmp.Or(c.Name, c.share, c.Remote) }

type forwarderKey struct{}

// WithForwarder returns the context of a request that an agent without raft forwards.
func WithForwarder(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, forwarderKey{}, id)
}

func forwarderOf(ctx context.Context) string {
	id, _ := ctx.Value(forwarderKey{}).(string)
	return id
}

// Now returns the caller with what it may do now: a name may have got a further token.
func (c Caller) Now() Caller {
	if c.now != nil {
		c.Grant = c.now()
		c.Operator = c.Grant.Operator
	}
	return c
}

// Doubt returns an error of kind ErrUnavailable while this agent cannot be certain what
// the caller may do: it does not know its cluster yet, or has not heard its leader for
// too long.
func (c Caller) Doubt() error {
	if c.doubt == nil {
		return nil
	}
	return c.doubt()
}

// MayDo returns an error unless the caller may do what is reserved for operators.
func (c Caller) MayDo(what string) error {
	if c.Operator {
		return nil
	}
	return interrex.Errorf(interrex.ErrDenied, "only an operator may %s this way%s", what, c.named())
}

// named returns what an error adds about the caller.
func (c Caller) named() string {
	if c.Name == "" {
		return ""
	}
	return ", and " + c.Name + " is not one"
}

// May returns an error unless the caller's rules allow a use.
func (c Caller) May(u accesstoken.Use) error {
	if c.Operator || c.Grant == nil || c.Grant.Allows(u) {
		return nil
	}
	if own := (accesstoken.Use{Table: u.Table, Verb: u.Verb, Key: u.Key, Prefix: u.Prefix}); !u.Own(c.Name) && c.Grant.Allows(own) {
		if u.Held != "" && u.Held != c.Name {
			return interrex.Errorf(interrex.ErrDenied, "%s may %s only leases that it holds under its own name, and %q holds %s: it lacks the rule %s", c.Name, u.Verb, u.Held, u.Key, u.Missing())
		}
		return interrex.Errorf(interrex.ErrDenied, "%s may be a holder only under its own name, not as %q: it lacks the rule %s", c.Name, u.Holder, u.Missing())
	}
	return interrex.Errorf(interrex.ErrDenied, "%s lacks the rule %s", c.Name, u.Missing())
}

// MayManage returns an error unless the caller may change the agent itself.
func (c Caller) MayManage(what string) error {
	if c.Door == Socket {
		return nil
	}
	return interrex.Errorf(interrex.ErrDisabled, "cannot %s here: it is available only over the agent's socket, unix://DATA-DIR/interrex.sock", what)
}
