package manifolds

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/internal/registry"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/raftworker/leadership"
)

// Set is an agent's manifolds together with what lives as long as all of them do.
type Set struct {
	Manifolds  dependency.Manifolds
	Starts     *Starts
	Leadership *leadership.Tracker

	configuration *sections
	health        *health.Health
	config        Config
	nodes         map[string]node
	ports         *ports.Ports
	loggers       *loggo.Context
	raftLog       *logs.Repeats
	raftDir       raftworker.Earlier
	registry      *registry.Registry
	metrics       *agentMetrics
	started       time.Time
	visitors      operations.Visitors
	unanswered    sync.WaitGroup // of listeners that have stopped: the calls that they had accepted

	draining  atomic.Pointer[string] // what a drain waits for; nil: there is none
	reloading sync.Mutex             // one reload at a time
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
		configuration: newSections(file),
		Starts:        newStarts(),
		Leadership:    new(leadership.Tracker),
		config:        c,
		ports:         ports.New(c.Agent.Clock),
		loggers:       c.Agent.Logger,
		registry:      registry.New(c.Agent.Registry),
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
		m := n.manifold(name, s.name, s.overstayed(s.name(name)))
		name = s.name(name)
		m.Start = guard(name, m, s.Starts, s.metrics)
		if name != s.name(EngineName) { // the embedder's takes its place unseen
			s.metrics.starts.WithLabelValues(name)
			s.metrics.up.WithLabelValues(name)
		}
		s.Manifolds[name] = m
	}
	return s, nil
}

// name returns a manifold's name in this set.
func (s *Set) name(name string) string { return s.config.Name(name) }

func (s *Set) names(names ...string) []string {
	var all []string
	for _, name := range names {
		all = append(all, s.name(name))
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
