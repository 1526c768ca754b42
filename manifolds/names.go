package manifolds

// DefaultPrefix begins the names below.
const DefaultPrefix = "interrex-"

// The names under DefaultPrefix of the workers of an agent that a program may want as
// an input, or leave out, and the type of what each provides to a Start by
// Context.Get; agent.Workers.Name returns them under another prefix. Each provides a
// gate.Entrance too, for Gate.
const (
	ClockName       = DefaultPrefix + "clock"        // clock.Clock
	EngineName      = DefaultPrefix + "engine"       // dependency.Reporter: the engine that they are in
	StateName       = DefaultPrefix + "state"        // *state.State
	QueueName       = DefaultPrefix + "queue"        // *queue.Queue
	TransportName   = DefaultPrefix + "transport"    // *transport.Transport
	RaftName        = DefaultPrefix + "raft"         // *raftworker.Worker
	LeaderName      = DefaultPrefix + "leader"       // gate.Flag, for Flag: this agent leads
	APIListenerName = DefaultPrefix + "api-listener" // nothing; it runs while the API listens on api.listen
	ClientName      = DefaultPrefix + "client"       // *client.Client: this agent's own
	LeasesName      = DefaultPrefix + "leases"       // interrex.Leases
	ProjectionName  = DefaultPrefix + "projection"   // *notify.SQLTarget: the table of lease holders
	NotifyName      = DefaultPrefix + "lease-notify" // *notify.Worker
	WebhooksName    = DefaultPrefix + "webhooks"     // nothing; it calls webhooks after events where this agent leads
)
