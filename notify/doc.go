// Package notify owns the lease-notify worker, which notifies a target of the holders
// of leases: at least once, in order, from the target's own position on, and also after
// any failure.
//
// The worker reads the ring of events. It never touches raft, and nothing waits
// for it: a slow, broken or missing target only makes its own copy late.
package notify
