// Package leaseapplier owns the way from the queue to raft and back to the
// caller: batches, the stamps of cluster time, ticks, and the claims that wait.
package leaseapplier
