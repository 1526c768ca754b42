package manifolds

import (
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/method"
)

// feature is a feature that can be switched off while the API serves the others.
type feature struct {
	name    string // of its section's worker
	setting string // as the API calls it
	pick    func(config.Config) config.Switch
}

func features() []feature {
	return []feature{
		{leasesConfigName, method.LeasesSetting, func(c config.Config) config.Switch { return c.Features.Leases }},
		{resourcesConfigName, method.ResourcesSetting, func(c config.Config) config.Switch { return c.Features.Resources }},
		{changesConfigName, method.ChangesSetting, func(c config.Config) config.Switch { return c.Features.Changes }},
		{webhooksConfigName, method.WebhooksSetting, func(c config.Config) config.Switch { return c.Features.Webhooks }},
	}
}

// startSwitches provides the API's switches, as configured when it starts. The
// features' workers change them.
func (s *Set) startSwitches(u *unit) (worker.Worker, error) {
	current := s.section()
	switches := method.NewSwitches()
	for _, f := range features() {
		switches.Switch(f.setting, f.pick(current).On())
	}
	u.give(switches)
	u.report = func() map[string]any { return map[string]any{apiserver.KeyOff: switches.Off()} }
	return nil, nil
}

// featureNode is the section of a feature, each run of which sets the switch. The
// run before it has ended after its visitors, so that leases that are held through
// the agent are released before the API refuses that.
func (s *Set) featureNode(f feature) node {
	n := sectionNode(s.configuration, f.pick)
	start := n.start
	n.offers = []string{switchesName}
	n.start = func(u *unit) (worker.Worker, error) {
		switches := need[*method.Switches](u, switchesName)
		if u.err != nil {
			return nil, u.err
		}
		switches.Switch(f.setting, f.pick(s.section()).On())
		return start(u)
	}
	return n
}

// startLeasesFeature runs while leases are switched on.
func (s *Set) startLeasesFeature(u *unit) (worker.Worker, error) {
	if on := need[config.Switch](u, leasesConfigName); u.err == nil && !on.On() {
		u.err = errOff
	}
	return nil, u.err
}
