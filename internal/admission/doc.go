// Package admission owns the checks that every request passes first: who the caller
// is and what it may do, how long its peer may take, and the count of open calls,
// for which a drain waits, and of which each caller has a limited part.
package admission
