// Package consistency owns the checks of an agent's state that a request needs: who
// leads, whether the state is recent enough to be read or must catch up first, and
// the errors that say so.
package consistency
