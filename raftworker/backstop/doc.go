// Package backstop owns the decision that a cluster which has lost its quorum goes on
// from this agent, without an operator at its side.
package backstop
