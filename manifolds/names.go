package manifolds

import "strings"

// DefaultPrefix begins the names below.
const DefaultPrefix = "interrex-"

// The names of the manifolds, under DefaultPrefix. Config.Name returns
// them under another prefix.
const (
	ConfigName          = DefaultPrefix + "config"
	ClockName           = DefaultPrefix + "clock"
	EngineName          = DefaultPrefix + "engine"
	LoggingName         = DefaultPrefix + "logging"
	AlarmsName          = DefaultPrefix + "alarms"
	MetricsName         = DefaultPrefix + "metrics"
	PortsName           = DefaultPrefix + "ports"
	APIConfigName       = DefaultPrefix + "config-api"
	SocketConfigName    = DefaultPrefix + "config-socket"
	ClusterConfigName   = DefaultPrefix + "config-cluster"
	RaftConfigName      = DefaultPrefix + "config-raft"
	LeasesConfigName    = DefaultPrefix + "config-leases"
	ResourcesConfigName = DefaultPrefix + "config-resources"
	ChangesConfigName   = DefaultPrefix + "config-changes"
	WebhooksConfigName  = DefaultPrefix + "config-webhooks"
	NotifyConfigName    = DefaultPrefix + "config-notify"
	LeasesFeatureName   = DefaultPrefix + "feature-leases"
	SwitchesName        = DefaultPrefix + "switches"
	IdentityName        = DefaultPrefix + "identity"
	StateName           = DefaultPrefix + "state"
	ObserversName       = DefaultPrefix + "observers"
	QueueName           = DefaultPrefix + "queue"
	LeadershipName      = DefaultPrefix + "leadership"
	TransportName       = DefaultPrefix + "transport"
	RaftName            = DefaultPrefix + "raft"
	RaftSlotName        = DefaultPrefix + "raft-slot"
	ReadsName           = DefaultPrefix + "reads"
	ReadsSlotName       = DefaultPrefix + "reads-slot"
	LeaderName          = DefaultPrefix + "leader"
	ForwarderName       = DefaultPrefix + "forwarder"
	ForwarderSlotName   = DefaultPrefix + "forwarder-slot"
	APIName             = DefaultPrefix + "api"
	APIListenerName     = DefaultPrefix + "api-listener"
	APISocketName       = DefaultPrefix + "api-socket"
	APIPeersName        = DefaultPrefix + "api-peers"
	ClientName          = DefaultPrefix + "client"
	LeasesName          = DefaultPrefix + "leases"
	ProjectionName      = DefaultPrefix + "projection"
	NotifyName          = DefaultPrefix + "lease-notify"
	HookCallerName      = DefaultPrefix + "webhook-caller"
	HookCallerSlotName  = DefaultPrefix + "webhook-caller-slot"
	WebhooksName        = DefaultPrefix + "webhooks"
)

// Name returns a name of this package under the configuration's prefix.
func (c Config) Name(name string) string {
	return c.Prefix + strings.TrimPrefix(name, DefaultPrefix)
}
