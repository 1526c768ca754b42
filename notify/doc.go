// Package notify owns the lease-notify worker, which tells a target who holds
// which lease: at least once, in order, on from where the target is, and in
// step again after any failure.
//
// The worker stands behind the ring of events. It never touches raft, and
// nobody waits for it: a target that is slow, broken or gone costs its own
// users a copy that is late.
package notify
