// Package raftlog owns what the files of a log can prove: which entries its
// segments hold, how far they go on from a snapshot, and a log that holds those
// and nothing else.
package raftlog
