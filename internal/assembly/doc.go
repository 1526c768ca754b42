// Package assembly owns the dependency graph of an agent: every worker by name, its
// inputs, what gates it, and how it is started; and what is done to all of them
// together: a reload, a drain.
package assembly
