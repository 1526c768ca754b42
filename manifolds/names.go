package manifolds

import "strings"

// DefaultPrefix begins the names below.
const DefaultPrefix = "interrex-"

// The names of the manifolds that a program may want as an input, or leave out,
// under DefaultPrefix, and the type of what each provides. Config.Name returns them
// under another prefix. Each provides an Entrance too, for Gate.
const (
	ClockName       = DefaultPrefix + "clock"        // clock.Clock
	EngineName      = DefaultPrefix + "engine"       // dependency.Reporter: the engine, see Engine
	StateName       = DefaultPrefix + "state"        // *state.State
	QueueName       = DefaultPrefix + "queue"        // *queue.Queue
	TransportName   = DefaultPrefix + "transport"    // *transport.Transport
	RaftName        = DefaultPrefix + "raft"         // *raftworker.Worker
	LeaderName      = DefaultPrefix + "leader"       // gate.Flag: this agent leads
	APIListenerName = DefaultPrefix + "api-listener" // nothing; it runs while the API listens on api.listen
	ClientName      = DefaultPrefix + "client"       // *client.Client: this agent's own
	LeasesName      = DefaultPrefix + "leases"       // interrex.Leases
	ProjectionName  = DefaultPrefix + "projection"   // *notify.SQLTarget: the table of lease holders
	NotifyName      = DefaultPrefix + "lease-notify" // *notify.Worker
	WebhooksName    = DefaultPrefix + "webhooks"     // nothing; it calls webhooks after events where this agent leads
)

const (
	configName          = DefaultPrefix + "config"
	loggingName         = DefaultPrefix + "logging"
	alarmsName          = DefaultPrefix + "alarms"
	metricsName         = DefaultPrefix + "metrics"
	portsName           = DefaultPrefix + "ports"
	apiConfigName       = DefaultPrefix + "config-api"
	socketConfigName    = DefaultPrefix + "config-socket"
	clusterConfigName   = DefaultPrefix + "config-cluster"
	raftConfigName      = DefaultPrefix + "config-raft"
	leasesConfigName    = DefaultPrefix + "config-leases"
	resourcesConfigName = DefaultPrefix + "config-resources"
	changesConfigName   = DefaultPrefix + "config-changes"
	webhooksConfigName  = DefaultPrefix + "config-webhooks"
	notifyConfigName    = DefaultPrefix + "config-notify"
	leasesFeatureName   = DefaultPrefix + "feature-leases"
	switchesName        = DefaultPrefix + "switches"
	identityName        = DefaultPrefix + "identity"
	observersName       = DefaultPrefix + "observers"
	raftSlotName        = DefaultPrefix + "raft-slot"
	readsName           = DefaultPrefix + "reads"
	readsSlotName       = DefaultPrefix + "reads-slot"
	forwarderName       = DefaultPrefix + "forwarder"
	forwarderSlotName   = DefaultPrefix + "forwarder-slot"
	apiName             = DefaultPrefix + "api"
	apiSocketName       = DefaultPrefix + "api-socket"
	apiPeersName        = DefaultPrefix + "api-peers"
	hookCallerName      = DefaultPrefix + "webhook-caller"
	hookCallerSlotName  = DefaultPrefix + "webhook-caller-slot"
)

// Name returns a name of this package under the configuration's prefix.
func (c Config) Name(name string) string {
	return c.Prefix + strings.TrimPrefix(name, DefaultPrefix)
}
