// Package plainhttp owns plain HTTP: /changes and /kv, for callers without a
// client, and the server-sent events of both.
package plainhttp
