// Package consistency owns where an agent stands in its cluster, as far as a request
// has to know: who leads, whether this agent's state is fresh enough, and the
// errors that say so.
package consistency
