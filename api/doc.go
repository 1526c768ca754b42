// Package api owns the declaration of a table's service: its methods that write,
// read and watch, each as a few functions that convert between messages and the
// table. An agent serves them on streams and over gRPC, Connect and JSON.
package api
