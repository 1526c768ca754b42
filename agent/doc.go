// Package agent owns one agent: the dependency engine that runs its workers,
// and its life from New to Stop. It is what a program imports that embeds one.
package agent
