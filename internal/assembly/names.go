package assembly

import (
	"strings"

	"github.com/interrex/interrex/manifolds"
)

// The names that are not for other programs.
const (
	loggingName         = manifolds.DefaultPrefix + "logging"
	alarmsName          = manifolds.DefaultPrefix + "alarms"
	metricsName         = manifolds.DefaultPrefix + "metrics"
	portsName           = manifolds.DefaultPrefix + "ports"
	apiConfigName       = manifolds.DefaultPrefix + "config-api"
	socketConfigName    = manifolds.DefaultPrefix + "config-socket"
	clusterConfigName   = manifolds.DefaultPrefix + "config-cluster"
	raftConfigName      = manifolds.DefaultPrefix + "config-raft"
	leasesConfigName    = manifolds.DefaultPrefix + "config-leases"
	resourcesConfigName = manifolds.DefaultPrefix + "config-resources"
	changesConfigName   = manifolds.DefaultPrefix + "config-changes"
	webhooksConfigName  = manifolds.DefaultPrefix + "config-webhooks"
	notifyConfigName    = manifolds.DefaultPrefix + "config-notify"
	leasesFeatureName   = manifolds.DefaultPrefix + "feature-leases"
	switchesName        = manifolds.DefaultPrefix + "switches"
	identityName        = manifolds.DefaultPrefix + "identity"
	observersName       = manifolds.DefaultPrefix + "observers"
	raftSlotName        = manifolds.DefaultPrefix + "raft-slot"
	readsName           = manifolds.DefaultPrefix + "reads"
	readsSlotName       = manifolds.DefaultPrefix + "reads-slot"
	forwarderName       = manifolds.DefaultPrefix + "forwarder"
	forwarderSlotName   = manifolds.DefaultPrefix + "forwarder-slot"
	apiName             = manifolds.DefaultPrefix + "api"
	apiSocketName       = manifolds.DefaultPrefix + "api-socket"
	apiPeersName        = manifolds.DefaultPrefix + "api-peers"
	hookCallerName      = manifolds.DefaultPrefix + "webhook-caller"
	hookCallerSlotName  = manifolds.DefaultPrefix + "webhook-caller-slot"
)

// Name returns the name of a manifold under the configuration's prefix.
func (c Config) Name(name string) string {
	return c.Prefix + strings.TrimPrefix(name, manifolds.DefaultPrefix)
}
