// Package operations owns a call on its way to its answer: which agent does it, the
// stream that carries any operation, what webhooks are asked first, and when it is
// tried again.
package operations
