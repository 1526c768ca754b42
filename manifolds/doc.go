// Package manifolds owns the dependency graph: every worker of an agent by
// name, its inputs, and what gates it. An agent is an engine with these
// manifolds installed; another program's engine takes them as well.
package manifolds
