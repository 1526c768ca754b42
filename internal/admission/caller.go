package admission

import (
	"context"

	"github.com/interrex/interrex"
)

// Door is the way by which a request came in.
type Door int

const (
	Public Door = iota // the API port
	Socket             // the socket in the data directory
	Peer               // the cluster port: another agent forwards
)

// Caller is who asks, and what it may do. This file alone decides that.
type Caller struct {
	// name is the authenticated name that records of request ids are kept
	// under; empty on an open API.
	Name     string
	Operator bool
	Door     Door
}

type doorKey struct{}

// Through marks the requests that come in by a door.
func Through(ctx context.Context, d Door) context.Context {
	return context.WithValue(ctx, doorKey{}, d)
}

// CallerOf says who makes the request of ctx. On an open API everybody is the
// operator; on the cluster port that agent has decided it, and names its
// caller in each operation.
func CallerOf(ctx context.Context) Caller {
	d, _ := ctx.Value(doorKey{}).(Door)
	return Caller{Operator: true, Door: d}
}

// OnBehalf is the caller of one operation that an agent forwards for somebody;
// everybody else speaks for himself.
func (c Caller) OnBehalf(name string) Caller {
	if c.Door == Peer {
		c.Name = name
	}
	return c
}

// MayDo reports whether the caller may do what only an operator may.
func (c Caller) MayDo(what string) error {
	if c.Operator {
		return nil
	}
	return interrex.Errorf(interrex.KindDenied, "only an operator may %s this way", what)
}

// MayManage says whether the caller may change the agent itself.
func (c Caller) MayManage(what string) error {
	if c.Door == Socket {
		return nil
	}
	return interrex.Errorf(interrex.KindDisabled, "cannot %s here: it is served on the agent's socket alone, unix://DATA-DIR/interrex.sock", what)
}
