// Package peering owns the one TLS port between agents: which agents may connect,
// their identity and addresses, and the streams of raft and of forwarded requests
// over it.
//
// An agent's ID is the DNS name in its certificate, and it is the address that
// raft knows. IDs become network addresses only when a connection is made, so an
// agent that moves does not change the membership.
package peering
