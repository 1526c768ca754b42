// Package watches owns the watches of callers: one stream for all of a client's,
// who of them gets an event, and how a snapshot and the events after it meet.
package watches
