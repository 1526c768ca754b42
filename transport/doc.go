// Package transport owns the one TLS port between agents: who may come in,
// which agent is at the other end, where an agent is reached, and the streams
// of raft and of forwarded requests that go through it.
//
// An agent's ID is the DNS name in its certificate, and it is the address that
// raft knows. IDs become network addresses only when a connection is made, so
// an agent that moves is no change of membership.
package transport
