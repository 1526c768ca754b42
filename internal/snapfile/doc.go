// Package snapfile owns the format of snapshots of the replicated state, as raft keeps
// them and as copies are saved: a header, the tables' sections, and checksums.
package snapfile
