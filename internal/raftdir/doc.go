// Package raftdir owns raft's directory on disk: its log, its term and vote,
// its floor and its snapshots. Each of them proves itself: nothing that was
// damaged is taken for what was written, and nothing that is missing is taken
// for what never was.
//
// The floor says how far the log has once reached. A directory that cannot
// prove as much any more is in quarantine: raft may run on it, take part in
// nothing but what it would have done undamaged, and be brought back by its
// leader.
package raftdir
