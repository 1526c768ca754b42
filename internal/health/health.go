package health

import (
	"sync/atomic"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/alarm"
)

// Health is the health of one agent. It is a prometheus.Collector of the metrics
// that are read when they are asked for.
type Health struct {
	look       func() View
	clock      clock.Clock
	began      time.Time
	alarms     *alarm.Registry
	abreast    atomic.Pointer[time.Time] // when this agent last knew what its leader commits; nil: never
	leaderless atomic.Pointer[time.Time] // since when no leader is known; nil: one is
	diskFull   atomic.Bool               // whether this agent has almost no disk space left
	full       atomic.Pointer[string]    // why the cluster has too little disk space; nil: it has enough
}

var _ prometheus.Collector = (*Health)(nil)

// New makes the health of the agent that look shows. look must not block.
func New(look func() View, c clock.Clock, l interrex.Logger) (*Health, error) {
	h := &Health{look: look, clock: c, began: c.Now()}
	var err error
	h.alarms, err = alarm.New(c, l, h.conditions()...)
	return h, err
}

// Watch starts the worker that looks for alarms once a second.
func (h *Health) Watch() (worker.Worker, error) { return h.alarms.Watch() }

// on makes the Look of a condition that needs nothing but a view.
func (h *Health) on(find func(View) []alarm.Finding) func(time.Time) []alarm.Finding {
	return func(at time.Time) []alarm.Finding {
		v := h.look()
		v.At = at
		return find(v)
	}
}

// betweenLives is View.betweenLives, for conditions of which nothing can be told then.
func (h *Health) betweenLives() bool { return h.look().betweenLives() }
