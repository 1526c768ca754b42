package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// Defaults of a Config.
const (
	DefaultLeaderWait = 2 * time.Second
	DefaultReadWait   = 10 * time.Second
	DefaultAnswerWait = 15 * time.Second
	DefaultSendWait   = 30 * time.Second
	DefaultBodyWait   = 30 * time.Second
	DefaultMaxOpen    = 4096
)

// Engine is the operators' view of the agent that the server belongs to.
type Engine interface {
	// Report returns the report of a juju dependency engine, to which lives.KeyFailures
	// and lives.KeyNextStart may be added.
	Report() map[string]any
	// Status never blocks.
	Status() interrex.Status
	// Config returns the effective configuration as YAML, without secrets.
	Config() (string, error)
	// Reload applies the configuration file, and returns the names of the changed
	// sections.
	Reload(ctx context.Context) ([]string, error)
	// Drain stops the agent gracefully, and returns when it is drained.
	Drain(ctx context.Context) error
	// Leave takes the agent out of its cluster, then stops it as Drain does; purge
	// deletes raft's data.
	Leave(ctx context.Context, purge bool) error
}

// Elsewhere is where an agent without raft forwards requests to.
type Elsewhere interface {
	http.Handler
	// May returns why the caller of a request may not see how this agent does; nil: it
	// may.
	May(r *http.Request) error
	// Epoch returns the epoch of the cluster; its zero value: it is not known yet.
	Epoch() interrex.Epoch
}

// Check is one line of the readiness probe.
type Check struct {
	Name   string
	Err    error // why the agent is not ready; nil: it is
	Leader bool  // the check needs a leader: ?leaderless skips it
}

// Config configures a Server. All fields are required unless marked optional.
type Config struct {
	ID, Version string

	State *machine.State
	Queue *queue.Queue
	Ring  *watch.Ring
	// Services are served in addition to interrex's own. Optional.
	Services []method.Service
	// Leases serves LeaseService.
	Leases *services.Leases
	// Resources serves ResourceService, and with Changes /kv. Optional.
	Resources *services.Resources
	// Changes serves ChangeService and /changes. Optional.
	Changes *services.Changes
	// Webhooks serves WebhookService.
	Webhooks *services.Webhooks
	// Members serves MemberService. Optional.
	Members *services.Members
	// Certificates serves CertificateService. Optional.
	Certificates *services.Certificates
	// Tokens serves TokenService, and says who the callers of the API are. Optional:
	// without it everybody is an operator.
	Tokens *services.Tokens
	// CAs returns the certificates of the cluster's own CA, in DER, and of the next one
	// while it is rotated; empty for a cluster without a CA of its own. Optional.
	CAs func() [][]byte
	// Member returns a context that is done once an agent is not a member of the cluster
	// with a log any more; nil: it is not one. Required with CAs.
	Member func(id string) context.Context
	// Audit receives refusals and what operators do. Optional.
	Audit *admission.Audit
	// Switches determine which services are off. nil: all are on.
	Switches *method.Switches
	// Visitors are the requests in Queue. Optional: without it, Servers that share a
	// queue do not know of each other's requests.
	Visitors *operations.Visitors

	Leadership consistency.Leadership
	// NextLeadership begins a watch of Leadership: the function that it returns
	// reports the current value at its first call, and waits for a change at every
	// later one, until its context ends.
	NextLeadership func() func(context.Context) (interrex.Leadership, error)
	// Reads returns the strong reads of this agent; false while raft is down.
	Reads func() (consistency.Reads, bool)
	// Forward returns a Forwarder to another agent. Optional: without it a request
	// that only the leader can handle fails elsewhere with ErrNotLeader.
	Forward func(ctx context.Context, id string) (operations.Forwarder, error)

	// Vet returns how this leader examines a command before it is proposed; nil: it does
	// not. See operations.Config. Optional.
	Vet func(table state.TableID, c state.Command) func(context.Context) error

	Engine Engine
	// Elsewhere serves everything but the agent's own service, for an agent without
	// raft: State and what depends on it are then empty. Optional.
	Elsewhere Elsewhere
	// Quarantine returns why this agent's state must not be read; nil if it may
	// be. Optional.
	Quarantine func() error
	// Removed returns an error of kind ErrRemoved once this agent was removed from its
	// cluster. Optional.
	Removed func() error
	// Ready returns the checks of the readiness probe beyond those that the server
	// makes itself (a leader is known, not draining, not halted). Optional.
	Ready func() []Check
	// Silence returns for how long this agent has not known what its leader commits, and
	// whether it has ever known it since it started. Optional: it always knows.
	Silence func() (d time.Duration, ever bool)
	// Metrics are served at /metrics. Optional.
	Metrics prometheus.Gatherer
	// Budget is the memory of all requests under way. Optional: without it the default.
	Budget *admission.Budget
	// InFlight limits what each caller has in flight. Optional: without it the default.
	InFlight *admission.InFlight
	// Requests records the durations of requests. Optional.
	Requests *method.Metrics

	Clock  clock.Clock
	Logger interrex.Logger

	// LeaderWait is how long a request waits for a leader to be elected, so
	// that callers do not see every election; 0: DefaultLeaderWait.
	LeaderWait time.Duration
	// ReadWait bounds a read's wait for a revision or a log index; 0:
	// DefaultReadWait.
	ReadWait time.Duration
	// AnswerWait bounds the time from an operation's deadline for entering the
	// log, or the end of its wait, to its answer, which is then
	// ErrOutcomeUnknown; 0: DefaultAnswerWait.
	AnswerWait time.Duration
	// SendWait is how long a peer may take to accept one message of a stream, or
	// one write of another answer; 0: DefaultSendWait.
	SendWait time.Duration
	// BodyWait is how long the body of a request may take, unless that is a
	// stream of messages; 0: DefaultBodyWait.
	BodyWait time.Duration
	// MaxOpen is how many operations may be open on one stream; more are
	// ErrOverloaded; 0: DefaultMaxOpen.
	MaxOpen int
}

// Validate reports the first field that is not valid.
func (c Config) Validate() error {
	missing := []struct {
		name string
		is   bool
	}{
		{"empty ID", c.ID == ""},
		{"nil State", c.State == nil},
		{"nil Queue", c.Queue == nil},
		{"nil Leases", c.Leases == nil || c.Leases.Table == nil},
		{"nil Webhooks", c.Webhooks == nil || c.Webhooks.Table == nil},
		{"nil Ring", c.Ring == nil},
		{"nil Leadership", c.Leadership == nil},
		{"nil NextLeadership", c.NextLeadership == nil},
		{"nil Reads", c.Reads == nil},
		{"nil Engine", c.Engine == nil},
		{"nil Clock", c.Clock == nil},
		{"nil Logger", c.Logger == nil},
		{"negative LeaderWait", c.LeaderWait < 0},
		{"negative ReadWait", c.ReadWait < 0},
		{"negative AnswerWait", c.AnswerWait < 0},
		{"negative SendWait", c.SendWait < 0},
		{"negative BodyWait", c.BodyWait < 0},
		{"negative MaxOpen", c.MaxOpen < 0},
	}
	for _, m := range missing {
		if m.is {
			return fmt.Errorf("%s not valid", m.name)
		}
	}
	return nil
}

func (c *Config) setDefaults() {
	c.LeaderWait = cmp.Or(c.LeaderWait, DefaultLeaderWait)
	c.ReadWait = cmp.Or(c.ReadWait, DefaultReadWait)
	c.AnswerWait = cmp.Or(c.AnswerWait, DefaultAnswerWait)
	c.SendWait = cmp.Or(c.SendWait, DefaultSendWait)
	c.BodyWait = cmp.Or(c.BodyWait, DefaultBodyWait)
	c.MaxOpen = cmp.Or(c.MaxOpen, DefaultMaxOpen)
	if c.Metrics == nil {
		c.Metrics = prometheus.Gatherers{}
	}
	if c.Silence == nil {
		c.Silence = func() (time.Duration, bool) { return 0, true }
	}
	if c.CAs == nil {
		c.CAs = func() [][]byte { return nil }
	}
	if c.Switches == nil {
		c.Switches = method.NewSwitches()
	}
	if c.Visitors == nil {
		c.Visitors = new(operations.Visitors)
	}
	if c.Budget == nil {
		c.Budget = admission.NewBudget(0)
	}
	if c.Requests == nil {
		c.Requests = method.NewMetrics()
	}
}
