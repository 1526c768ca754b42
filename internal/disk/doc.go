// Package disk owns calls on a disk that may fail or hang: a deadline for each,
// small files that are replaced whole and prove themselves, directories with one
// user, and the errors that say what is wrong.
package disk
