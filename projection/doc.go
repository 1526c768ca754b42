// Package projection owns the copy of lease holders in an SQL database, for
// programs that would rather ask SQL, and the fence that keeps a deposed
// holder from writing to a database.
//
// The copy follows; it decides nothing. Whether somebody holds a lease is the
// cluster's to say, or Fence's, in the transaction that it matters to.
package projection
