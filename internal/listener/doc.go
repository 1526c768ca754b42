// Package listener owns the worker that serves HTTP on one net.Listener: its limits,
// its graceful stop, and the check of client certificates.
package listener
