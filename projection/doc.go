// Package projection owns the copy of lease holders in an SQL database, for
// programs that prefer to query SQL, and the fence that keeps a deposed holder
// from writing to a database.
//
// The copy follows; it decides nothing. Only the cluster knows whether a lease is
// held, and in a transaction, Fence checks it.
package projection
