// Package datadir owns an agent's data directory: whose it is, what it can prove
// while the agent does not run, and its repair.
package datadir
