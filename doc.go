// Package interrex is the vocabulary of leases, leadership and small
// replicated state: keys, tokens, revisions, leases, the interfaces that an
// agent and a client share, and the kinds of error with their numbers. It has
// no behaviour of its own and imports nothing of this module.
package interrex
