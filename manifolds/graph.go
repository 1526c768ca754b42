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
		loggingName:        {start: s.startLogging},
		alarmsName:         {start: func(*unit) (worker.Worker, error) { return s.health.Watch() }},
		metricsName:        {start: s.startMetrics},
		portsName:          {start: s.startPorts},
		apiConfigName:      sectionNode(s.configuration, pickAPI),
		socketConfigName:   sectionNode(s.configuration, pickSocket),
		clusterConfigName:  sectionNode(s.configuration, pickCluster),
		raftConfigName:     sectionNode(s.configuration, pickRaft),
		notifyConfigName:   sectionNode(s.configuration, pickNotify),
		switchesName:       {start: s.startSwitches},
		identityName:       {start: s.startIdentity},
		StateName:          {inputs: []string{ClockName}, visits: []string{identityName}, start: s.startState},
		raftSlotName:       slotNode[*raftLife](),
		readsSlotName:      slotNode[*reads.Rounds](),
		forwarderSlotName:  slotNode[*forward.Forwarder](),
		hookCallerSlotName: slotNode[*hookcaller.Caller](),
		QueueName:          {inputs: []string{ClockName}, start: s.startQueue},
		TransportName: {
			inputs: []string{ClockName, portsName, clusterConfigName}, visits: []string{identityName, StateName},
			start: s.startTransport,
		},
		RaftName: {
			inputs: []string{ClockName, raftConfigName}, visits: []string{identityName, StateName, QueueName, TransportName},
			offers: []string{raftSlotName}, start: s.startRaft,
		},
		readsName:         {inputs: []string{ClockName, identityName}, visits: []string{StateName, RaftName}, offers: []string{readsSlotName}, start: s.startReads},
		LeaderName:        s.leader(),
		forwarderName:     {inputs: []string{ClockName}, visits: []string{TransportName}, offers: []string{forwarderSlotName}, start: s.startForwarder},
		leasesFeatureName: {inputs: []string{leasesConfigName}, start: s.startLeasesFeature},
		apiName: {
			inputs: []string{ClockName, EngineName, identityName}, visits: []string{StateName, QueueName},
			uses:  []string{raftSlotName, readsSlotName, forwarderSlotName, hookCallerSlotName, switchesName},
			start: s.startAPI,
		},
		APIListenerName: {inputs: []string{apiConfigName, portsName}, visits: []string{apiName}, start: s.startAPIListener},
		apiSocketName: {
			inputs: []string{socketConfigName}, visits: []string{apiName, identityName},
			start: s.startAPISocket,
		},
		apiPeersName:   {inputs: []string{apiName}, visits: []string{TransportName}, start: s.startAPIPeers},
		ClientName:     {inputs: []string{EngineName, identityName}, visits: []string{apiName, leasesConfigName}, uses: []string{raftSlotName}, start: s.startClient},
		LeasesName:     {inputs: []string{leasesFeatureName}, visits: []string{ClientName}, start: s.startLeases},
		ProjectionName: {inputs: []string{notifyConfigName}, visits: []string{identityName}, start: s.startProjection},
		NotifyName:     s.notify(),
		hookCallerName: {inputs: []string{ClockName, identityName, webhooksConfigName}, offers: []string{hookCallerSlotName}, start: s.startHookCaller},
		WebhooksName: {
			flag: LeaderName, inputs: []string{ClockName, apiName}, visits: []string{StateName, QueueName, hookCallerName},
			start: s.startWebhooks,
		},
	}
	for _, f := range features() {
		nodes[f.name] = s.featureNode(f)
	}
	if s.config.Agent.Observers != nil {
		nodes[observersName] = node{visits: []string{StateName}, start: s.startObservers}
	}
	return nodes
}
