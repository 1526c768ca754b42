// Package watch owns the agent's ring of recent events and the positions of its
// readers.
package watch
