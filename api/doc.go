// Package api owns the server side of the API: how a request becomes an
// operation and its result an answer, which agent does it, and how errors,
// probes and metrics look from outside.
package api
