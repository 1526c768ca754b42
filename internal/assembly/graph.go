package assembly

import (
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/internal/sections"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/manifolds"
)

// graph returns the agent: a line for each worker, with the inputs that it needs to
// run, and those of them that it visits.
func (s *Set) graph() map[string]unit.Node {
	nodes := map[string]unit.Node{
		manifolds.ClockName:  {Start: s.startClock},
		manifolds.EngineName: lives.Engine(s.Lives.WithoutEngine(s.inputs)),
		loggingName:          {Start: s.startLogging},
		alarmsName:           {Start: func(*unit.Unit) (worker.Worker, error) { return s.health.Watch() }},
		metricsName:          {Start: s.startMetrics},
		portsName:            {Start: s.startPorts},
		apiConfigName:        sections.Node(s.configuration, pickAPI),
		socketConfigName:     sections.Node(s.configuration, pickSocket),
		clusterConfigName:    sections.Node(s.configuration, pickCluster),
		raftConfigName:       sections.Node(s.configuration, pickRaft),
		notifyConfigName:     sections.Node(s.configuration, pickNotify),
		switchesName:         {Start: s.startSwitches},
		identityName:         {Start: s.startIdentity},
		manifolds.StateName:  {Inputs: []string{manifolds.ClockName}, Visits: []string{identityName}, Start: s.startState},
		raftSlotName:         unit.Slot[*raftLife](),
		readsSlotName:        unit.Slot[*reads.Rounds](),
		forwarderSlotName:    unit.Slot[*forward.Forwarder](),
		hookCallerSlotName:   unit.Slot[*hookcaller.Caller](),
		manifolds.QueueName:  {Inputs: []string{manifolds.ClockName}, Start: s.startQueue},
		manifolds.TransportName: {
			Inputs: []string{manifolds.ClockName, portsName, clusterConfigName}, Visits: []string{identityName, manifolds.StateName},
			Start: s.startTransport,
		},
		manifolds.RaftName: {
			Inputs: []string{manifolds.ClockName, raftConfigName}, Visits: []string{identityName, manifolds.StateName, manifolds.QueueName, manifolds.TransportName},
			Offers: []string{raftSlotName}, Start: s.startRaft,
		},
		readsName:            {Inputs: []string{manifolds.ClockName, identityName}, Visits: []string{manifolds.StateName, manifolds.RaftName}, Offers: []string{readsSlotName}, Start: s.startReads},
		manifolds.LeaderName: s.leader(),
		forwarderName:        {Inputs: []string{manifolds.ClockName}, Visits: []string{manifolds.TransportName}, Offers: []string{forwarderSlotName}, Start: s.startForwarder},
		leasesFeatureName:    {Inputs: []string{leasesConfigName}, Start: s.startLeasesFeature},
		apiName: {
			Inputs: []string{manifolds.ClockName, manifolds.EngineName, identityName}, Visits: []string{manifolds.StateName, manifolds.QueueName},
			Uses:  []string{raftSlotName, readsSlotName, forwarderSlotName, hookCallerSlotName, switchesName},
			Start: s.startAPI,
		},
		manifolds.APIListenerName: {Inputs: []string{apiConfigName, portsName}, Visits: []string{apiName}, Start: s.startAPIListener},
		apiSocketName: {
			Inputs: []string{socketConfigName}, Visits: []string{apiName, identityName},
			Start: s.startAPISocket,
		},
		apiPeersName:             {Inputs: []string{apiName}, Visits: []string{manifolds.TransportName}, Start: s.startAPIPeers},
		manifolds.ClientName:     {Inputs: []string{manifolds.EngineName, identityName}, Visits: []string{apiName, leasesConfigName}, Uses: []string{raftSlotName}, Start: s.startClient},
		manifolds.LeasesName:     {Inputs: []string{leasesFeatureName}, Visits: []string{manifolds.ClientName}, Start: s.startLeases},
		manifolds.ProjectionName: {Inputs: []string{notifyConfigName}, Visits: []string{identityName}, Start: s.startProjection},
		manifolds.NotifyName:     s.notify(),
		hookCallerName:           {Inputs: []string{manifolds.ClockName, identityName, webhooksConfigName}, Offers: []string{hookCallerSlotName}, Start: s.startHookCaller},
		manifolds.WebhooksName: {
			Flag: manifolds.LeaderName, Inputs: []string{manifolds.ClockName, apiName}, Visits: []string{manifolds.StateName, manifolds.QueueName, hookCallerName},
			Start: s.startWebhooks,
		},
	}
	for _, f := range features() {
		nodes[f.name] = s.featureNode(f)
	}
	if s.config.Agent.Observers != nil {
		nodes[observersName] = unit.Node{Visits: []string{manifolds.StateName}, Start: s.startObservers}
	}
	return nodes
}
