package manifolds

import (
	"time"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/leaseworker"
)

// LeaseConfig describes a manifold that campaigns for a lease and holds it.
type LeaseConfig struct {
	// LeasesName is the name of the manifold that provides interrex.Leases: the
	// constant LeasesName under DefaultPrefix, else what agent.Workers.Name returns
	// for it.
	LeasesName string
	Key        string
	TTL        time.Duration // 0: interrex.DefaultTTL
	Holder     string        // empty: one for this process
	Metadata   map[string]string
	// Patience is how long the dependents have to stop before the lease is
	// released. 0: 10 s. If one has not stopped by then, the lease is not released:
	// it expires.
	Patience time.Duration
	// Overstayed is called with the names of the dependents that did not stop in
	// time. May be nil.
	Overstayed func(key string, names []string)
}

// Lease returns a manifold whose worker lives as long as one hold of a lease. Until
// the lease is granted the worker is starting. Dependents (see WhileHeld) are
// stopped and waited for before the lease is released, and are stopped when it
// is lost; then the next campaign begins.
func Lease(c LeaseConfig) dependency.Manifold {
	return leaseworker.Manifold(leaseworker.Config(c))
}

// WhileHeld lets m run only while the lease of the manifold called lease is
// held. m's Start gets an interrex.Held from that input, by Context.Get.
func WhileHeld(lease string, m dependency.Manifold) dependency.Manifold {
	return Gate("worker of "+lease, m, lease)
}
