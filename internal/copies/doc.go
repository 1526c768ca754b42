// Package copies owns the copies of the replicated state that callers save.
package copies
