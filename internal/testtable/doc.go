// Package testtable owns the table that our own tests put into a state, and what
// its snapshots are written to.
package testtable
