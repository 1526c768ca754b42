// Package apiserver owns the HTTP handlers of one agent's API: which path is served
// on which port or socket, the service and the probes of the agent itself, and the
// format of errors that the RPC library makes.
package apiserver
