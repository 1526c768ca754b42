// Package listener owns the worker that serves HTTP on one net.Listener, with its limits
// and its graceful stop.
package listener
