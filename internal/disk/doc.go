// Package disk owns calls to a disk that may fail or hang: their deadlines, small
// files with checksums that are replaced atomically, locks of directories, and the
// errors of all these.
package disk
