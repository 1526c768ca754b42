// Package apiserver owns the API of one agent as its callers see it: what is served
// at which path and by which door, the agent's own service and probes, and the shape
// of what the RPC library refuses.
package apiserver
