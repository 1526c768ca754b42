// Package operations owns the execution of calls: the choice of the agent that
// handles one, forwarding to the leader and retries, the streams of operations, and
// the webhooks that are called before an operation.
package operations
