package assembly

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/compare"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/internal/registry"
	"github.com/interrex/interrex/internal/sections"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/raftworker/leadership"
)

// Set is an agent's manifolds together with what lives as long as all of them do.
type Set struct {
	Manifolds  dependency.Manifolds
	Lives      *lives.Lives
	Leadership *leadership.Tracker

	configuration *sections.Sections
	removal       *membership.Removal
	recovery      *recoveries
	comparisons   *compare.Board
	forwarders    *forward.Book
	health        *health.Health
	config        Config
	nodes         map[string]unit.Node
	ports         *ports.Ports
	loggers       *loggo.Context
	raftLog       *logs.Repeats
	raftDir       raftworker.Earlier
	registry      *registry.Registry
	metrics       *agentMetrics
	started       time.Time
	visitors      operations.Visitors
	requests      *admission.Budget
	unanswered    sync.WaitGroup // of listeners that have stopped: the calls that they had accepted

	caKeys    sync.Mutex             // see custody.Keys
	draining  atomic.Pointer[string] // what a drain waits for; nil: there is none
	reloading sync.Mutex             // one reload at a time
	recording atomic.Bool            // the leader is to record every founder of the cluster
}

// New makes the manifolds of one agent.
func New(c Config) (*Set, error) {
	if err := c.Agent.Validate(); err != nil {
		return nil, err
	}
	file := c.Agent.file()
	if c.Agent.Clock == nil {
		c.Agent.Clock = clock.WallClock
	}
	s := &Set{
		configuration: sections.New(file),
		removal:       membership.NewRemoval(),
		recovery:      newRecoveries(),
		comparisons:   compare.NewBoard(c.Agent.Clock),
		forwarders:    new(forward.Book),
		Lives:         lives.New(),
		Leadership:    new(leadership.Tracker),
		config:        c,
		ports:         ports.New(c.Agent.Clock),
		loggers:       c.Agent.Logger,
		registry:      registry.New(c.Agent.Registry),
		requests:      admission.NewBudget(int64(file.API.MaxRequestBytes)),
		started:       c.Agent.Clock.Now(),
	}
	if s.loggers == nil {
		s.loggers = logs.Default()
	}
	s.raftLog = logs.NewRepeats(c.Agent.Clock, s.logger("raft"))
	var err error
	if s.health, err = health.New(s.view, c.Agent.Clock, s.logger("alarm")); err != nil {
		return nil, err
	}
	for _, extra := range c.Agent.Collectors {
		if err := s.registry.Served.Register(extra); err != nil {
			return nil, fmt.Errorf("cannot register a collector of Config.Collectors: %w", err)
		}
	}
	s.metrics = newAgentMetrics(s)
	s.Manifolds = dependency.Manifolds{}
	s.nodes = s.graph()
	for name, n := range s.nodes {
		m := n.Manifold(name, s.Name, s.overstayed(s.Name(name)))
		name = s.Name(name)
		m.Start = s.Lives.Recorded(name, m)
		if name != s.Name(EngineName) { // the embedder's takes its place unseen
			s.Lives.Expect(name)
		}
		s.Manifolds[name] = m
	}
	return s, nil
}

// Name returns a name of package manifolds in this set.
func (s *Set) Name(name string) string { return s.config.Name(name) }

func (s *Set) names(names ...string) []string {
	var all []string
	for _, name := range names {
		all = append(all, s.Name(name))
	}
	return all
}

func (s *Set) logger(module string) loggo.Logger { return s.loggers.GetLogger("interrex." + module) }

// overstayed logs and counts the visitors that did not leave an owner in time.
func (s *Set) overstayed(owner string) func([]string) {
	return func(names []string) {
		s.metrics.overstayed.Add(float64(len(names)))
		s.logger("engine").Warningf("%v still use %s, which stops without waiting longer", names, owner)
	}
}

// EngineLogger returns the logger for the engine that these manifolds are in.
func (s *Set) EngineLogger() dependency.Logger {
	now := s.config.Agent.Clock
	return s.Lives.Logger(logs.NewRepeats(now, s.logger("engine")), now)
}

// Report returns the report of the engine that these manifolds are in, with what an
// engine leaves out: the errors and next starts of workers, and which inputs are slots
// that a worker offers something in, and slots that it uses.
func (s *Set) Report(engine dependency.Reporter) map[string]any {
	report := s.Lives.Complete(engine.Report())
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	for name, n := range s.nodes {
		if w, is := workers[s.Name(name)].(map[string]any); is {
			w[apiserver.KeyOffers], w[apiserver.KeyUses] = s.names(n.Offers...), s.names(n.Uses...)
		}
	}
	return report
}

// inputs returns the inputs of each worker.
func (s *Set) inputs() map[string][]string {
	all := map[string][]string{}
	for name, m := range s.Manifolds {
		all[name] = m.Inputs
	}
	return all
}
