// Package services owns the methods of interrex's own services (leases, resources,
// changes, webhooks, state): how each turns its request into a command or a read of
// its table, and the result into a response.
package services
