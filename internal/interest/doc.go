// Package interest owns what readers of events are interested in, and finds the
// readers of an event without looking at the others.
package interest
