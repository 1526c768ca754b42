package raftworker

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/queue"
)

// ManifoldConfig names the inputs of the raft worker's manifold. Inputs of Juju's
// that are not workers here (agent, a database) are not among them: raft must not
// stop because one of them does.
type ManifoldConfig struct {
	ClockName     string // provides a clock.Clock
	TransportName string // provides the port between agents, as manifolds.TransportName does
	StateName     string // provides a State
	QueueName     string // provides a *queue.Queue

	// Raft is the template of the worker's Config: everything but State, Clock,
	// Transport and Queue, which come from the inputs.
	Raft Config
	// NewWorker makes the worker. nil: NewWorker of this package.
	NewWorker func(Config) (worker.Worker, error)

	Logger               Logger
	PrometheusRegisterer prometheus.Registerer
}

// Validate returns an error for the first field that is missing or not valid.
func (c ManifoldConfig) Validate() error {
	switch {
	case c.ClockName == "":
		return errors.New("empty ClockName not valid")
	case c.TransportName == "":
		return errors.New("empty TransportName not valid")
	case c.StateName == "":
		return errors.New("empty StateName not valid")
	case c.QueueName == "":
		return errors.New("empty QueueName not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.Raft.NewApplier == nil:
		return errors.New("nil NewApplier not valid")
	}
	return nil
}

// newWorker is NewWorker with the signature of ManifoldConfig.NewWorker.
func newWorker(cfg Config) (worker.Worker, error) {
	w, err := NewWorker(cfg)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Manifold returns a manifold that runs the raft worker in a dependency engine. Its
// outputs are **raft.Raft, *LogStore and **Worker. None of the worker's errors is
// fatal to the engine, a bounce or an uninstall: each is logged, and the worker is
// started again.
func Manifold(cfg ManifoldConfig) dependency.Manifold {
	return dependency.Manifold{
		Inputs: []string{cfg.ClockName, cfg.TransportName, cfg.StateName, cfg.QueueName},
		Start:  cfg.start,
		Output: output,
	}
}

func (c ManifoldConfig) start(ctx dependency.Context) (worker.Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	cfg := c.Raft
	cfg.Logger, cfg.PrometheusRegisterer = c.Logger, c.PrometheusRegisterer
	var (
		now   clock.Clock
		trans *peering.Transport
		st    State
		ops   *queue.Queue
	)
	for _, input := range []struct {
		name string
		out  any
	}{{c.ClockName, &now}, {c.TransportName, &trans}, {c.StateName, &st}, {c.QueueName, &ops}} {
		if err := ctx.Get(input.name, input.out); err != nil {
			return nil, err
		}
	}
	cfg.Clock, cfg.State, cfg.Queue = now, st, ops
	cfg.Transport = transportOf(trans, c.Logger)
	if c.NewWorker == nil {
		return newWorker(cfg)
	}
	return c.NewWorker(cfg)
}

// transportOf returns a Config.Transport that makes each life's transport from the
// agent's.
func transportOf(t *peering.Transport, logger Logger) func(Rules) (Transport, error) {
	return func(r Rules) (Transport, error) {
		l, is := r.(peering.Life)
		if !is {
			return nil, fmt.Errorf("cannot make a raft transport: %T lacks rules for other agents; give the Rules of a Worker", r)
		}
		rt, err := t.Raft(peering.RaftConfig{Life: l, Logger: hclogger.New(hclogger.Transport, logger)})
		if err != nil {
			return nil, err
		}
		return rt, nil
	}
}

func output(in worker.Worker, out any) error {
	w, ok := in.(*Worker)
	if !ok {
		return fmt.Errorf("expected input of type *raftworker.Worker, got %T", in)
	}
	var err error
	switch out := out.(type) {
	case **Worker:
		*out = w
	case **raft.Raft:
		*out, err = w.Raft()
	case *LogStore:
		*out, err = w.LogStore()
	default:
		err = fmt.Errorf("expected output of **raft.Raft, *raftworker.LogStore or **raftworker.Worker, got %T", out)
	}
	return err
}
