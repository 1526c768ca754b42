package assembly

import "strings"

// DefaultPrefix begins the names below.
const DefaultPrefix = "interrex-"

// The names that other programs may use: see package manifolds.
const (
	ClockName       = DefaultPrefix + "clock"
	EngineName      = DefaultPrefix + "engine"
	StateName       = DefaultPrefix + "state"
	QueueName       = DefaultPrefix + "queue"
	TransportName   = DefaultPrefix + "transport"
	RaftName        = DefaultPrefix + "raft"
	LeaderName      = DefaultPrefix + "leader"
	APIListenerName = DefaultPrefix + "api-listener"
	ClientName      = DefaultPrefix + "client"
	LeasesName      = DefaultPrefix + "leases"
	ProjectionName  = DefaultPrefix + "projection"
	NotifyName      = DefaultPrefix + "lease-notify"
	WebhooksName    = DefaultPrefix + "webhooks"
)

// The names that are not for other programs.
const (
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
	backupConfigName    = DefaultPrefix + "config-backup"
	backupName          = DefaultPrefix + "backup"
	backstopConfigName  = DefaultPrefix + "config-backstop"
	leasesFeatureName   = DefaultPrefix + "feature-leases"
	switchesName        = DefaultPrefix + "switches"
	recoveryName        = DefaultPrefix + "recovery"
	backstopName        = DefaultPrefix + "backstop"
	identityName        = DefaultPrefix + "identity"
	observersName       = DefaultPrefix + "observers"
	raftSlotName        = DefaultPrefix + "raft-slot"
	readsName           = DefaultPrefix + "reads"
	readsSlotName       = DefaultPrefix + "reads-slot"
	forwarderName       = DefaultPrefix + "forwarder"
	forwarderSlotName   = DefaultPrefix + "forwarder-slot"
	apiName             = DefaultPrefix + "api"
	apiSocketName       = DefaultPrefix + "api-socket"
	apiForwardedName    = DefaultPrefix + "api-forwarded"
	gatewaySlotName     = DefaultPrefix + "gateway-slot"
	gatewayName         = DefaultPrefix + "gateway"
	apiPeersName        = DefaultPrefix + "api-peers"
	clustererName       = DefaultPrefix + "clusterer"
	custodyName         = DefaultPrefix + "ca-key"
	compareName         = DefaultPrefix + "compare"
	renewalName         = DefaultPrefix + "certificate"
	enrolmentName       = DefaultPrefix + "enrolment"
	membershipName      = DefaultPrefix + "membership"
	rotationName        = DefaultPrefix + "ca-rotation"
	joiningName         = DefaultPrefix + "joining"
	hookCallerName      = DefaultPrefix + "webhook-caller"
	hookCallerSlotName  = DefaultPrefix + "webhook-caller-slot"
)

// Name returns the name of a manifold under the configuration's prefix.
func (c Config) Name(name string) string {
	return c.Prefix + strings.TrimPrefix(name, DefaultPrefix)
}
