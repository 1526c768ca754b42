// Package notify owns the lease-notify worker, which keeps a target up to date on
// who holds which lease: at least once, in order, from the target's own position
// on, and also after any failure.
//
// The worker reads the ring of events. It never touches raft, and nothing waits
// for it: a slow, broken or missing target only makes its own copy late.
package notify
