package manifolds

import (
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/reads"
)

// graph returns the agent: a line for each worker, with the inputs that it needs to
// run, and those of them that it visits.
func (s *Set) graph() map[string]node {
	nodes := map[string]node{
		ClockName:          {start: s.startClock},
		EngineName:         engineNode(noEngine{s}),
		LoggingName:        {start: s.startLogging},
		AlarmsName:         {start: func(*unit) (worker.Worker, error) { return s.health.Watch() }},
		MetricsName:        {start: s.startMetrics},
		PortsName:          {start: s.startPorts},
		APIConfigName:      sectionNode(s.configuration, pickAPI),
		SocketConfigName:   sectionNode(s.configuration, pickSocket),
		ClusterConfigName:  sectionNode(s.configuration, pickCluster),
		RaftConfigName:     sectionNode(s.configuration, pickRaft),
		NotifyConfigName:   sectionNode(s.configuration, pickNotify),
		SwitchesName:       {start: s.startSwitches},
		IdentityName:       {start: s.startIdentity},
		StateName:          {inputs: []string{ClockName}, visits: []string{IdentityName}, start: s.startState},
		RaftSlotName:       slotNode[*raftLife](),
		ReadsSlotName:      slotNode[*reads.Rounds](),
		ForwarderSlotName:  slotNode[*forward.Forwarder](),
		HookCallerSlotName: slotNode[*hookcaller.Caller](),
		QueueName:          {inputs: []string{ClockName}, start: s.startQueue},
		TransportName: {
			inputs: []string{ClockName, PortsName, ClusterConfigName}, visits: []string{IdentityName, StateName},
			start: s.startTransport,
		},
		RaftName: {
			inputs: []string{ClockName, RaftConfigName}, visits: []string{IdentityName, StateName, QueueName, TransportName},
			offers: []string{RaftSlotName}, start: s.startRaft,
		},
		ReadsName:         {inputs: []string{ClockName, IdentityName}, visits: []string{StateName, RaftName}, offers: []string{ReadsSlotName}, start: s.startReads},
		LeaderName:        s.leader(),
		ForwarderName:     {inputs: []string{ClockName}, visits: []string{TransportName}, offers: []string{ForwarderSlotName}, start: s.startForwarder},
		LeasesFeatureName: {inputs: []string{LeasesConfigName}, start: s.startLeasesFeature},
		APIName: {
			inputs: []string{ClockName, EngineName, IdentityName}, visits: []string{StateName, QueueName},
			uses:  []string{RaftSlotName, ReadsSlotName, ForwarderSlotName, HookCallerSlotName, SwitchesName},
			start: s.startAPI,
		},
		APIListenerName: {inputs: []string{APIName, APIConfigName, PortsName}, start: s.startAPIListener},
		APISocketName: {
			inputs: []string{APIName, SocketConfigName}, visits: []string{IdentityName},
			start: s.startAPISocket,
		},
		APIPeersName:   {inputs: []string{APIName}, visits: []string{TransportName}, start: s.startAPIPeers},
		ClientName:     {inputs: []string{EngineName, IdentityName}, visits: []string{APIName, LeasesConfigName}, uses: []string{RaftSlotName}, start: s.startClient},
		LeasesName:     {inputs: []string{LeasesFeatureName}, visits: []string{ClientName}, start: s.startLeases},
		ProjectionName: {inputs: []string{NotifyConfigName}, visits: []string{IdentityName}, start: s.startProjection},
		NotifyName:     s.notify(),
		HookCallerName: {inputs: []string{ClockName, IdentityName, WebhooksConfigName}, offers: []string{HookCallerSlotName}, start: s.startHookCaller},
		WebhooksName: {
			flag: LeaderName, inputs: []string{ClockName, APIName}, visits: []string{StateName, QueueName, HookCallerName},
			start: s.startWebhooks,
		},
	}
	for _, f := range features() {
		nodes[f.name] = s.featureNode(f)
	}
	if s.config.Agent.Observers != nil {
		nodes[ObserversName] = node{visits: []string{StateName}, start: s.startObservers}
	}
	return nodes
}
