// Package agent owns one agent: the dependency engine that runs its workers, and
// its life from New to Stop. Programs that embed an agent import it.
package agent
