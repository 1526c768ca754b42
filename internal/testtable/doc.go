// Package testtable owns the tables that our own tests put into a state, and what
// their snapshots are written to.
package testtable
