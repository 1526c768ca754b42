package manifolds

import "github.com/interrex/interrex/internal/assembly"

// DefaultPrefix begins the names below.
const DefaultPrefix = assembly.DefaultPrefix

// The names under DefaultPrefix of the workers of an agent that a program may want as
// an input, and the type of what each provides to a Start by Context.Get; agent.Workers.Name returns them under another prefix. Each provides a
// gate.Entrance too, for Gate.
const (
	StateName     = assembly.StateName     // state.State, raftworker.State
	QueueName     = assembly.QueueName     // *queue.Queue
	TransportName = assembly.TransportName // the port between agents, for a raftworker.ManifoldConfig
	RaftName      = assembly.RaftName      // *raftworker.Worker
	LeaderName    = assembly.LeaderName    // gate.Flag, for Flag: this agent leads
	ClientName    = assembly.ClientName    // *client.Client: this agent's own
	LeasesName    = assembly.LeasesName    // interrex.Leases
)
