// Package leaseapplier owns the path of operations from the queue to raft and of
// their results back to the callers: batches, the stamps of cluster time, ticks, and
// the claims that wait.
package leaseapplier
