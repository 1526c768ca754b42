package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// maxMessage is the largest request message, in bytes.
const maxMessage = 4 << 20

// Defaults of a Config.
const (
	DefaultLeaderWait = 2 * time.Second
	DefaultReadWait   = 10 * time.Second
	DefaultAnswerWait = 15 * time.Second
	DefaultSendWait   = 30 * time.Second
	DefaultBodyWait   = 30 * time.Second
	DefaultMaxOpen    = 4096
)

// Engine is the agent that the server belongs to, as its operators see it.
type Engine interface {
	// Report is that of a juju dependency engine, to which KeyFailures and
	// KeyNextStart may be added.
	Report() map[string]any
	// Status never blocks.
	Status() interrex.Status
	// Config is the effective configuration as YAML, without secrets.
	Config() (string, error)
	// Reload takes up the configuration file and names the changed sections.
	Reload(ctx context.Context) ([]string, error)
	// Drain stops the agent politely, and returns when it is drained.
	Drain(ctx context.Context) error
}

// Check is one line of the readiness probe.
type Check struct {
	Name   string
	Err    error // why it is not ready; nil: it is
	Leader bool  // it cannot pass without a leader: ?leaderless leaves it out
}

// Config says what a Server serves. Everything is needed unless it is said to
// be optional.
type Config struct {
	ID, Version string

	State *state.State
	Queue *queue.Queue
	Ring  *watch.Ring
	// Services are what the API serves beside interrex's own. Optional.
	Services []method.Service
	// Leases serves LeaseService.
	Leases *services.Leases
	// Resources serves ResourceService, and with Changes /kv. Optional.
	Resources *services.Resources
	// Changes serves ChangeService and /changes. Optional.
	Changes *services.Changes
	// Webhooks serves WebhookService.
	Webhooks *services.Webhooks
	// Switches say which services are off. nil: all are on.
	Switches *method.Switches
	// Visitors are the requests that are in Queue. Optional: without it another
	// Server of the same queue does not know of this one's.
	Visitors *operations.Visitors

	Leadership consistency.Leadership
	// NextLeadership begins a watch of Leadership: the function that it gives
	// returns the present at its first call, and waits for a change at every
	// later one, until its context ends.
	NextLeadership func() func(context.Context) (interrex.Leadership, error)
	// Reads gives the strong reads of this agent; false while raft is down.
	Reads func() (consistency.Reads, bool)
	// Forward gives the way to another agent. Optional: without it a request
	// that only the leader can do is KindNotLeader elsewhere.
	Forward func(ctx context.Context, id string) (operations.Forwarder, error)

	Engine Engine
	// Quarantine says why nothing may be read from this agent's state; nil: it
	// may. Optional.
	Quarantine func() error
	// Ready returns the checks of the readiness probe beyond those that the server
	// makes itself (a leader is known, not draining, not halted). Optional.
	Ready func() []Check
	// Metrics is what /metrics shows. Optional.
	Metrics prometheus.Gatherer
	// Requests takes the times of requests. Optional.
	Requests *method.Metrics

	Clock  clock.Clock
	Logger interrex.Logger

	// LeaderWait is how long a request waits for a leader to be elected, so
	// that callers do not see every election; 0: DefaultLeaderWait.
	LeaderWait time.Duration
	// ReadWait bounds a read's wait for a revision or a log index; 0:
	// DefaultReadWait.
	ReadWait time.Duration
	// AnswerWait bounds the time between an operation's last moment to enter
	// the log, or the end of its wait, and its answer, which is then
	// KindOutcomeUnknown; 0: DefaultAnswerWait.
	AnswerWait time.Duration
	// SendWait is how long a peer may take to accept one message of a stream, or
	// one write of another answer; 0: DefaultSendWait.
	SendWait time.Duration
	// BodyWait is how long the body of a request may take, unless that is a
	// stream of messages; 0: DefaultBodyWait.
	BodyWait time.Duration
	// MaxOpen is how many operations may be open on one stream; more are
	// KindOverloaded; 0: DefaultMaxOpen.
	MaxOpen int
}

// Validate says which field cannot be used.
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
	if c.Switches == nil {
		c.Switches = method.NewSwitches()
	}
	if c.Visitors == nil {
		c.Visitors = new(operations.Visitors)
	}
	if c.Requests == nil {
		c.Requests = method.NewMetrics()
	}
}
