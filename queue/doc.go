// Package queue owns the operations that wait to be proposed to raft's log.
//
// It outlives raft: operations that wait while raft restarts are proposed afterwards,
// or answered when their deadline has passed.
package queue
