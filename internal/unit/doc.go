// Package unit owns what a worker is in an agent's graph: what it needs of its inputs,
// what it provides to its dependents, whom it visits, what it frees at its end, and the
// slots for what may be absent while it runs.
package unit
