// Package watch owns the agent's ring of recent events and the positions of
// everybody who reads it.
package watch
