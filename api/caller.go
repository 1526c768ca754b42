package api

import (
	"context"

	"github.com/interrex/interrex"
)

// door is the way by which a request came in.
type door int

const (
	doorPublic door = iota // the API port
	doorSocket             // the socket in the data directory
	doorPeer               // the cluster port: another agent forwards
)

// caller is who asks, and what it may do. This file alone decides that.
type caller struct {
	// name is the authenticated name that records of request ids are kept
	// under; empty on an open API.
	name     string
	operator bool
	door     door
}

type doorKey struct{}

// through marks the requests that come in by a door.
func through(ctx context.Context, d door) context.Context {
	return context.WithValue(ctx, doorKey{}, d)
}

// callerOf says who makes the request of ctx. On an open API everybody is the
// operator; on the cluster port that agent has decided it, and names its
// caller in each operation.
func callerOf(ctx context.Context) caller {
	d, _ := ctx.Value(doorKey{}).(door)
	return caller{operator: true, door: d}
}

// onBehalf is the caller of one operation that an agent forwards for somebody;
// everybody else speaks for himself.
func (c caller) onBehalf(name string) caller {
	if c.door == doorPeer {
		c.name = name
	}
	return c
}

// mayDo reports whether the caller may do what only an operator may.
func (c caller) mayDo(what string) error {
	if c.operator {
		return nil
	}
	return interrex.Errorf(interrex.KindDenied, "only an operator may %s this way", what)
}

// mayManage says whether the caller may change the agent itself.
func (c caller) mayManage(what string) error {
	if c.door == doorSocket {
		return nil
	}
	return interrex.Errorf(interrex.KindDisabled, "cannot %s here: it is served on the agent's socket alone, unix://DATA-DIR/interrex.sock", what)
}
