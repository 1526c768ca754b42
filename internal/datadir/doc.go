// Package datadir owns an agent's data directory: the identity in it, and its
// examination, repair and recovery while the agent is not running.
package datadir
