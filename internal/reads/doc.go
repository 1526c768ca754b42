// Package reads owns strong reads on the leader: one round of heartbeats
// proves for many readers at once that what this replica has committed is the
// newest, and says which log index they must wait for.
package reads
