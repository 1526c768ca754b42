// Package manifolds owns what a program adds to the workers of an agent in a dependency
// engine of its own: workers that run while a lease is held, while this agent leads, or
// as visitors of a worker that must outlive them. agent.NewWorkers returns the agent's
// workers; their names are here.
package manifolds
