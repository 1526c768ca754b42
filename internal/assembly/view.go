package assembly

import (
	"errors"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/backup"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/transport"
)

// running returns the value of a type that a worker provides: see unit.Value.
func running[T any](s *Set, name string) T { return unit.Value[T](s.Lives.Worker(s.Name(name))) }

// view returns what runs now.
func (s *Set) view() health.View {
	v := health.View{
		At: s.config.Agent.Clock.Now(), Started: s.started, Config: s.section(), Leadership: s.Leadership.Current(),
		Draining: s.draining.Load() != nil, InMemory: s.config.Agent.DataDir == "",
		BoundAPI: s.Addresses()[ports.API], AdvertisedAPI: s.advertisedAPI(),

		State:      running[*machine.State](s, StateName),
		Leases:     running[*lease.Table](s, StateName),
		Resources:  running[*resource.Table](s, StateName),
		Changes:    running[*change.Table](s, StateName),
		Webhooks:   running[*webhook.Table](s, StateName),
		Access:     running[*access.Table](s, StateName),
		Admitted:   running[*member.Table](s, StateName),
		Machine:    running[*fsm.Table](s, StateName),
		Ring:       running[*watch.Ring](s, StateName),
		Queue:      running[*queue.Queue](s, QueueName),
		Notifier:   running[*notify.Worker](s, NotifyName),
		Backup:     running[*backup.Worker](s, backupName),
		Caller:     running[*hookcaller.Caller](s, hookCallerName),
		Teller:     running[*hookcaller.Worker](s, WebhooksName),
		Transport:  running[*peering.Transport](s, TransportName),
		ClusterTLS: running[transport.TLS](s, TransportName),
		APITLS:     running[*certificates.Files](s, APIListenerName),
		Raft:       running[*raftworker.Worker](s, RaftName),
		Vitals:     running[health.Vitals](s, RaftName),
		Acks:       running[health.Acks](s, RaftName),
	}
	v.Removed, v.RecoveryFailed = s.removal.Err(), s.recovery.failure()
	v.Comparison, v.Differs = s.comparisons.Last(), s.comparisons.Differs()
	v.Observers, v.Forwarders, v.Requests = s.config.Agent.Observers, s.forwarders, s.requests
	v.Connections, v.InFlight = s.metrics.connections, s.metrics.inFlight
	if dir := running[*datadir.Dir](s, identityName); dir != nil {
		v.ID, v.ClusterID, v.Joins, v.Directory = dir.ID, dir.ClusterID, dir.Present().Joins, dir.Path
	}
	if w := running[*enrolment.Worker](s, enrolmentName); w != nil {
		v.Waits, v.WaitsSince = w.Waits(), w.Since()
	}
	if s.WithoutRaft() {
		v.Forwards, v.Gateway, v.ClusterTLS = true, running[*forward.Gateway](s, gatewayName), running[transport.TLS](s, gatewayName)
	}
	s.viewDown(&v)
	return v
}

// viewDown notes which workers are down.
func (s *Set) viewDown(v *health.View) {
	raft, api, projection := s.Name(RaftName), s.Name(APIListenerName), s.Name(ProjectionName)
	v.RaftDown, v.APIDown, v.ProjectionDown = s.Lives.Down(raft), s.Lives.Down(api), s.Lives.Down(projection)
	v.RaftStarting = s.Lives.Starting(raft)
	v.Failing = map[string]error{}
	for name := range s.Manifolds {
		if err := s.Lives.Down(name); err != nil && !slices.Contains([]string{raft, api, projection, s.Name(membershipName)}, name) {
			v.Failing[name] = err
		}
	}
}

// quarantined says why nothing may be read from this agent; nil: it may.
func (s *Set) quarantined() error {
	if why := s.comparisons.Condemned(); why != nil {
		return why
	}
	if raft := running[health.Vitals](s, RaftName); raft != nil {
		return raft.Quarantine()
	}
	return nil
}

// leaving says why this agent must not be elected; nil: it may be.
func (s *Set) leaving() error {
	if s.draining.Load() != nil {
		return errors.New("the agent is stopping")
	}
	return nil
}

// ready returns the checks of readiness that only the agent can make.
func (s *Set) ready() (checks []apiserver.Check) {
	for _, check := range s.health.Ready() {
		checks = append(checks, apiserver.Check(check))
	}
	return checks
}

// section returns the present configuration.
func (s *Set) section() config.Config {
	current, _ := s.configuration.Current()
	return current
}

// ID returns the agent's ID, "" before its identity was read.
func (s *Set) ID() string {
	if dir := running[*datadir.Dir](s, identityName); dir != nil {
		return dir.ID
	}
	return ""
}

// Client returns the agent's client of its API, nil while it does not run.
func (s *Set) Client() *client.Client { return running[*client.Client](s, ClientName) }

// HasHeard reports whether the agent has known, since it was started, what its leader
// commits: until then it does not know who may use its API.
func (s *Set) HasHeard() bool {
	_, ever := s.health.Silence()
	return ever
}

// State returns the replicated state, nil while it does not run.
func (s *Set) State() *machine.State { return running[*machine.State](s, StateName) }

// Applied returns the tracker of the revision that the agent has applied, nil while
// the replicated state does not run.
func (s *Set) Applied() interrex.Tracker {
	if feed := running[*change.Table](s, StateName); feed != nil {
		return feed.Applied()
	}
	return nil
}

// server returns the API's server, nil while it does not run.
func (s *Set) server() *apiserver.Server { return running[*apiserver.Server](s, apiName) }

// Addresses returns what is bound now: "api", "cluster", "socket".
func (s *Set) Addresses() map[string]string {
	at, _ := s.ports.Addresses()
	return at
}
