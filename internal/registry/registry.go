// Package registry owns the registration of an agent's metrics: what /metrics serves,
// and what the embedder's registry has of it.
package registry

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Registry takes an agent's collectors, also those that come and go with a worker.
// /metrics shows those in Served; the embedder's registry has the ones registered
// here between Publish and Withdraw.
type Registry struct {
	Served *prometheus.Registry
	theirs prometheus.Registerer // nil: there is none

	mu         sync.Mutex
	open       bool // theirs has them
	collectors []prometheus.Collector
}

var _ prometheus.Registerer = (*Registry)(nil)

// New returns a registry. theirs is the embedder's, nil: there is none.
func New(theirs prometheus.Registerer) *Registry {
	return &Registry{Served: prometheus.NewRegistry(), theirs: theirs}
}

// Register implements prometheus.Registerer.
func (r *Registry) Register(c prometheus.Collector) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.Served.Register(c); err != nil {
		return err
	}
	if r.open {
		if err := r.theirs.Register(c); err != nil {
			r.Served.Unregister(c)
			return err
		}
	}
	r.collectors = append(r.collectors, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *Registry) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Unregister implements prometheus.Registerer, for what this registry was given.
func (r *Registry) Unregister(c prometheus.Collector) bool {
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
	return r.Served.Unregister(c)
}

// Publish puts the collectors into the embedder's registry: all of them, or none.
func (r *Registry) Publish() error {
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

// Withdraw takes them out again.
func (r *Registry) Withdraw() error {
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
