package manifolds

import (
	"fmt"
	"slices"
	"sync"

	"github.com/juju/worker/v3"
	"github.com/prometheus/client_golang/prometheus"
)

// registry takes an agent's collectors, also those that come and go with a
// worker. /metrics shows those in served; the embedder's registry has them while
// the metrics worker runs.
type registry struct {
	served *prometheus.Registry
	theirs prometheus.Registerer // nil: there is none

	mu         sync.Mutex
	open       bool // theirs has them
	collectors []prometheus.Collector
}

var _ prometheus.Registerer = (*registry)(nil)

// Register implements prometheus.Registerer.
func (r *registry) Register(c prometheus.Collector) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.served.Register(c); err != nil {
		return err
	}
	if r.open {
		if err := r.theirs.Register(c); err != nil {
			r.served.Unregister(c)
			return err
		}
	}
	r.collectors = append(r.collectors, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *registry) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Unregister implements prometheus.Registerer, for what this registry was given.
func (r *registry) Unregister(c prometheus.Collector) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.collectors, c)
	if i < 0 {
		return false
	}
	r.collectors = slices.Delete(r.collectors, i, i+1)
	if r.open {
		r.theirs.Unregister(c)
	}
	return r.served.Unregister(c)
}

// publish puts the collectors into the embedder's registry: all of them, or none.
func (r *registry) publish() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.theirs == nil {
		return nil
	}
	for i, c := range r.collectors {
		if err := r.theirs.Register(c); err != nil {
			for _, done := range r.collectors[:i] {
				r.theirs.Unregister(done)
			}
			return fmt.Errorf(`cannot register the agent's metrics: %w: a registry takes one agent at a time; for several, give each Config.Registry labels of its own: prometheus.WrapRegistererWith(prometheus.Labels{"agent": ID}, registry)`, err)
		}
	}
	r.open = true
	return nil
}

// withdraw takes them out again.
func (r *registry) withdraw() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		for _, c := range r.collectors {
			r.theirs.Unregister(c)
		}
	}
	r.open = false
	return nil
}

// start has the agent's metrics in the embedder's registry for as long as the unit
// lives.
func (r *registry) start(u *unit) (worker.Worker, error) {
	if err := r.publish(); err != nil {
		return nil, err
	}
	u.free(r.withdraw)
	return nil, nil
}
