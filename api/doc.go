// Package api owns how a table's service is declared: its methods that write,
// read and watch, each as a few functions between messages and the table. An
// agent serves what is declared here on streams, over gRPC, Connect and JSON.
package api
