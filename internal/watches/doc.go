// Package watches owns the delivery of events to callers: it serves all watches of a
// client on one stream, selects those that get an event, and joins a watch's initial
// snapshot to the events after it.
package watches
