// Package raftdir owns raft's directory on disk: its log, its term and vote, its
// floor and its snapshots. Each has checksums of its own: what is damaged is not
// taken for what was written, and what is missing not for what never existed.
//
// The floor is the last position that the log is known to have reached. A directory
// whose intact entries end before it is in quarantine: raft may run on it, but only
// does what it would also have done with the missing entries, until the leader has
// sent them.
package raftdir
