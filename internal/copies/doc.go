// Package copies owns the copies of the replicated state: the snapshots that callers
// save, and what is in such a file.
package copies
