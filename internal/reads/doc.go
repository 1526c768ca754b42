// Package reads owns strong reads on the leader: one round of heartbeats proves for
// many readers at once that this agent still leads, and determines the log index
// that they must wait for.
package reads
