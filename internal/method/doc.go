// Package method owns the registry of the methods that an agent serves, and the
// conversion of one call: from its request to an operation of the log or a read, and
// from the result to its response.
package method
