// Package listener owns the worker that serves HTTP on one listener: its limits, its
// stop, and who may come in with which certificate.
package listener
