package manifolds

import (
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/reads"
)

// graph is the agent: a line a worker, with the inputs without which it does not
// run, and those of them that it visits.
func (s *Set) graph() map[string]node {
	nodes := map[string]node{
		ClockName:          {start: s.startClock},
		EngineName:         {start: s.startEngine},
		LoggingName:        {start: s.startLogging},
		AlarmsName:         {inputs: []string{ClockName}, start: s.startAlarms},
		MetricsName:        {start: s.registry.start},
		PortsName:          {start: s.ports.start},
		APIConfigName:      sectionNode(s.Configuration, pickAPI),
		SocketConfigName:   sectionNode(s.Configuration, pickSocket),
		ClusterConfigName:  sectionNode(s.Configuration, pickCluster),
		RaftConfigName:     sectionNode(s.Configuration, pickRaft),
		FeaturesConfigName: sectionNode(s.Configuration, pickFeatures),
		NotifyConfigName:   sectionNode(s.Configuration, pickNotify),
		IdentityName:       {start: s.startIdentity},
		StateName:          {inputs: []string{ClockName, IdentityName}, start: s.startState},
		RaftSlotName:       slotNode[*raftLife](),
		ReadsSlotName:      slotNode[*reads.Rounds](),
		ForwarderSlotName:  slotNode[*forwarder](),
		HookCallerSlotName: slotNode[*hookcaller.Caller](),
		QueueName:          {inputs: []string{ClockName}, start: s.startQueue},
		TransportName: {
			inputs: []string{ClockName, PortsName, ClusterConfigName, IdentityName, StateName},
			start:  s.startTransport,
		},
		RaftName: {
			inputs: []string{ClockName, RaftConfigName}, visits: []string{IdentityName, StateName, QueueName, TransportName},
			offers: []string{RaftSlotName}, start: s.startRaft,
		},
		ReadsName:         {inputs: []string{ClockName, IdentityName, StateName}, visits: []string{RaftName}, offers: []string{ReadsSlotName}, start: s.startReads},
		LeaderName:        s.leader(),
		ForwarderName:     {inputs: []string{ClockName}, visits: []string{TransportName}, offers: []string{ForwarderSlotName}, start: s.startForwarder},
		LeasesFeatureName: {inputs: []string{FeaturesConfigName}, start: s.startLeasesFeature},
		APIName: {
			inputs: []string{ClockName, EngineName, IdentityName, FeaturesConfigName}, visits: []string{StateName, QueueName},
			uses:  []string{RaftSlotName, ReadsSlotName, ForwarderSlotName, HookCallerSlotName},
			start: s.startAPI,
		},
		APIListenerName: {inputs: []string{ClockName, APIName, APIConfigName, PortsName}, start: s.startAPIListener},
		APISocketName: {
			inputs: []string{ClockName, APIName, SocketConfigName}, visits: []string{IdentityName},
			start: s.startAPISocket,
		},
		APIPeersName:   {inputs: []string{ClockName, APIName}, visits: []string{TransportName}, start: s.startAPIPeers},
		ClientName:     {inputs: []string{EngineName, IdentityName}, visits: []string{APIName}, uses: []string{RaftSlotName}, start: s.startClient},
		LeasesName:     {inputs: []string{LeasesFeatureName}, visits: []string{ClientName}, start: s.startLeases},
		ProjectionName: {inputs: []string{NotifyConfigName, IdentityName}, start: s.startProjection},
		NotifyName:     s.notify(),
		HookCallerName: {inputs: []string{ClockName, IdentityName, FeaturesConfigName}, offers: []string{HookCallerSlotName}, start: s.startHookCaller},
		WebhooksName: {
			flag: LeaderName, inputs: []string{ClockName, APIName}, visits: []string{StateName, QueueName, HookCallerName},
			start: s.startWebhooks,
		},
	}
	if s.config.Agent.Observers != nil {
		nodes[ObserversName] = node{inputs: []string{StateName}, start: s.startObservers}
	}
	return nodes
}
