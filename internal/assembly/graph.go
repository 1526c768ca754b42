package assembly

import (
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/internal/sections"
	"github.com/interrex/interrex/internal/unit"
)

// graph returns the agent: a line for each worker, with the inputs that it needs to
// run, and those of them that it visits.
func (s *Set) graph() map[string]unit.Node {
	nodes := map[string]unit.Node{
		ClockName:          {Start: s.startClock},
		EngineName:         lives.Engine(s.Lives.WithoutEngine(s.inputs)),
		loggingName:        {Start: s.startLogging},
		alarmsName:         {Start: func(*unit.Unit) (worker.Worker, error) { return s.health.Watch() }},
		metricsName:        {Start: s.startMetrics},
		portsName:          {Start: s.startPorts},
		apiConfigName:      sections.Node(s.configuration, pickAPI),
		socketConfigName:   sections.Node(s.configuration, pickSocket),
		clusterConfigName:  sections.Node(s.configuration, pickCluster),
		raftConfigName:     sections.Node(s.configuration, pickRaft),
		notifyConfigName:   sections.Node(s.configuration, pickNotify),
		backupConfigName:   sections.Node(s.configuration, pickBackup),
		backstopConfigName: sections.Node(s.configuration, pickBackstop),
		switchesName:       {Start: s.startSwitches},
		recoveryName:       {Inputs: []string{ClockName}, Start: s.startRecovery},
		identityName:       {Visits: []string{recoveryName}, Start: s.startIdentity},
		StateName:          {Inputs: []string{ClockName}, Visits: []string{identityName}, Start: s.startState},
		raftSlotName:       unit.Slot[*raftLife](),
		readsSlotName:      unit.Slot[*reads.Rounds](),
		forwarderSlotName:  unit.Slot[*forward.Forwarder](),
		hookCallerSlotName: unit.Slot[*hookcaller.Caller](),
		QueueName:          {Inputs: []string{ClockName}, Start: s.startQueue},
		TransportName: {
			Flag: enrolmentName, Inputs: []string{ClockName, portsName, clusterConfigName}, Visits: []string{identityName, StateName},
			Start: s.startTransport,
		},
		RaftName: {
			Inputs: []string{ClockName, raftConfigName, membershipName}, Visits: []string{identityName, StateName, QueueName, TransportName},
			Offers: []string{raftSlotName}, Start: s.startRaft,
		},
		enrolmentName:     {Inputs: []string{ClockName}, Visits: []string{identityName}, Start: s.startEnrolment},
		membershipName:    {Flag: enrolmentName, Inputs: []string{ClockName}, Visits: []string{identityName, StateName}, Start: s.startMembership},
		readsName:         {Inputs: []string{ClockName, identityName}, Visits: []string{StateName, RaftName}, Offers: []string{readsSlotName}, Start: s.startReads},
		LeaderName:        s.leader(),
		forwarderName:     {Inputs: []string{ClockName}, Visits: []string{TransportName}, Offers: []string{forwarderSlotName}, Start: s.startForwarder},
		leasesFeatureName: {Inputs: []string{leasesConfigName}, Start: s.startLeasesFeature},
		apiName: {
			Inputs: []string{ClockName, EngineName, identityName}, Visits: []string{StateName, QueueName},
			Uses:  []string{raftSlotName, readsSlotName, forwarderSlotName, hookCallerSlotName, switchesName},
			Start: s.startAPI,
		},
		APIListenerName: {Inputs: []string{apiConfigName, portsName, enrolmentName}, Visits: []string{apiName}, Start: s.startAPIListener},
		apiSocketName: {
			Inputs: []string{socketConfigName}, Visits: []string{apiName, identityName},
			Start: s.startAPISocket,
		},
		apiPeersName:   {Inputs: []string{apiName}, Visits: []string{identityName, StateName, TransportName}, Start: s.startAPIPeers},
		ClientName:     {Inputs: []string{EngineName, identityName}, Visits: []string{apiName, leasesConfigName}, Uses: []string{raftSlotName}, Start: s.startClient},
		LeasesName:     {Inputs: []string{leasesFeatureName}, Visits: []string{ClientName}, Start: s.startLeases},
		ProjectionName: {Inputs: []string{notifyConfigName}, Visits: []string{identityName}, Start: s.startProjection},
		NotifyName:     s.notify(),
		hookCallerName: {Inputs: []string{ClockName, identityName, webhooksConfigName}, Offers: []string{hookCallerSlotName}, Start: s.startHookCaller},
		WebhooksName: {
			Flag: LeaderName, Inputs: []string{ClockName, apiName}, Visits: []string{StateName, QueueName, hookCallerName},
			Start: s.startWebhooks,
		},
	}
	nodes[clustererName] = unit.Node{
		Flag: LeaderName, Inputs: []string{ClockName}, Visits: []string{identityName, StateName, QueueName, TransportName, RaftName}, Start: s.startClusterer,
	}
	nodes[backstopName] = unit.Node{
		Inputs: []string{ClockName, backstopConfigName}, Visits: []string{identityName, TransportName}, Start: s.startBackstop,
	}
	nodes[backupName] = unit.Node{
		Inputs: []string{ClockName, backupConfigName}, Visits: []string{identityName, StateName}, Start: s.startBackup,
	}
	nodes[rotationName] = unit.Node{
		Flag: LeaderName, Inputs: []string{ClockName}, Visits: []string{identityName, StateName, QueueName, TransportName, RaftName}, Start: s.startRotation,
	}
	nodes[custodyName] = unit.Node{
		Inputs: []string{ClockName}, Visits: []string{identityName, StateName, TransportName, RaftName}, Start: s.startCustody,
	}
	nodes[renewalName] = unit.Node{
		Inputs: []string{ClockName}, Visits: []string{identityName, StateName, TransportName}, Start: s.startRenewal,
	}
	nodes[joiningName] = unit.Node{
		Inputs: []string{ClockName}, Visits: []string{identityName, StateName, TransportName, ClientName}, Start: s.startJoining,
	}
	nodes[compareName] = unit.Node{
		Inputs: []string{ClockName}, Visits: []string{StateName, QueueName, TransportName, RaftName}, Start: s.startCompare,
	}
	for _, f := range features() {
		nodes[f.name] = s.featureNode(f)
	}
	if s.config.Agent.Observers != nil {
		nodes[observersName] = unit.Node{Visits: []string{StateName}, Start: s.startObservers}
	}
	nodes[apiForwardedName] = unit.Node{
		Inputs: []string{apiName}, Visits: []string{identityName, StateName, TransportName}, Start: s.startAPIForwarded,
	}
	if s.WithoutRaft() {
		return s.withoutRaft(nodes)
	}
	return nodes
}

// withoutRaft returns the workers of an agent without raft, of those of a member. Its
// state stays empty: the gateway takes what is not about the agent itself.
func (s *Set) withoutRaft(nodes map[string]unit.Node) map[string]unit.Node {
	for _, name := range []string{
		TransportName, RaftName, raftConfigName, membershipName, readsName, LeaderName, forwarderName, apiPeersName, apiForwardedName,
		ProjectionName, NotifyName, notifyConfigName, hookCallerName, WebhooksName, clustererName, backstopName, backstopConfigName,
		backupName, backupConfigName,
		custodyName, rotationName, joiningName, observersName, compareName,
	} {
		delete(nodes, name)
	}
	nodes[gatewaySlotName] = unit.Slot[*forward.Gateway]()
	nodes[gatewayName] = unit.Node{
		Flag: enrolmentName, Inputs: []string{ClockName, clusterConfigName}, Visits: []string{identityName}, Offers: []string{gatewaySlotName},
		Start: s.startGateway,
	}
	api := nodes[apiName]
	api.Uses = append(api.Uses, gatewaySlotName)
	nodes[apiName] = api
	nodes[renewalName] = unit.Node{
		Inputs: []string{ClockName}, Visits: []string{identityName, gatewayName}, Start: s.startForwardersRenewal,
	}
	return nodes
}
