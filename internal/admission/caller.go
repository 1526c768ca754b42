package admission

import (
	"context"

	"github.com/interrex/interrex"
)

// Door is the entrance through which a request arrived.
type Door int

const (
	Public Door = iota // the API port
	Socket             // the socket in the data directory
	Peer               // the cluster port, where other agents forward requests
)

// Caller identifies who makes a request, and what it may do. Only this file
// decides that.
type Caller struct {
	// Name is the authenticated name under which records of request ids are
	// kept; empty on an open API.
	Name     string
	Operator bool
	Door     Door
}

type doorKey struct{}

// Through marks ctx as that of a request that arrived through a door.
func Through(ctx context.Context, d Door) context.Context {
	return context.WithValue(ctx, doorKey{}, d)
}

// CallerOf returns the caller of the request of ctx. On an open API everybody is
// an operator; on the cluster port the forwarding agent has checked its caller,
// and names it in each operation.
func CallerOf(ctx context.Context) Caller {
	d, _ := ctx.Value(doorKey{}).(Door)
	return Caller{Operator: true, Door: d}
}

// OnBehalf returns the caller of one operation: the named one if another agent
// forwards it, else c itself.
func (c Caller) OnBehalf(name string) Caller {
	if c.Door == Peer {
		c.Name = name
	}
	return c
}

// MayDo returns an error unless the caller may do what is reserved for operators.
func (c Caller) MayDo(what string) error {
	if c.Operator {
		return nil
	}
	return interrex.Errorf(interrex.ErrDenied, "only an operator may %s this way", what)
}

// MayManage returns an error unless the caller may change the agent itself.
func (c Caller) MayManage(what string) error {
	if c.Door == Socket {
		return nil
	}
	return interrex.Errorf(interrex.ErrDisabled, "cannot %s here: it is available only over the agent's socket, unix://DATA-DIR/interrex.sock", what)
}
