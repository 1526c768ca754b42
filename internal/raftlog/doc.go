// Package raftlog owns the check and the repair of the files of raft's log: which
// entries are intact, which of them continue from the newest snapshot, and a log
// that holds those and nothing else.
package raftlog
