// Package services owns the services of interrex's own tables: what their methods
// make of requests, and how they answer.
package services
