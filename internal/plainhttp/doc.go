// Package plainhttp owns the plain HTTP API for callers without a client library:
// the paths /changes and /kv, and their streams of server-sent events.
package plainhttp
