// Package queue owns the operations that wait for the log.
//
// Its life is longer than raft's: operations that wait while raft restarts are
// proposed after it, or answered when their deadline has passed.
package queue
