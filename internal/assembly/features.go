package assembly

import (
	"fmt"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/sections"
	"github.com/interrex/interrex/internal/unit"
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
func (s *Set) startSwitches(u *unit.Unit) (worker.Worker, error) {
	current := s.section()
	switches := method.NewSwitches()
	for _, f := range features() {
		switches.Switch(f.setting, f.pick(current).On())
	}
	u.Give(switches)
	u.ReportBy(func() map[string]any { return map[string]any{apiserver.KeyOff: switches.Off()} })
	return nil, nil
}

// featureNode is the section of a feature, each run of which sets the switch. The
// run before it has ended after its visitors, so that leases that are held through
// the agent are released before the API refuses that.
func (s *Set) featureNode(f feature) unit.Node {
	n := sections.Node(s.configuration, f.pick)
	start := n.Start
	n.Offers = []string{switchesName}
	n.Start = func(u *unit.Unit) (worker.Worker, error) {
		switches := unit.Need[*method.Switches](u, switchesName)
		if u.Err != nil {
			return nil, u.Err
		}
		switches.Switch(f.setting, f.pick(s.section()).On())
		return start(u)
	}
	return n
}

// startLeasesFeature runs while leases are switched on.
func (s *Set) startLeasesFeature(u *unit.Unit) (worker.Worker, error) {
	if on := unit.Need[config.Switch](u, leasesConfigName); u.Err == nil && !on.On() {
		u.Err = errOff
	}
	return nil, u.Err
}

// errOff is why a worker of a feature that is switched off does not run.
var errOff = fmt.Errorf("off by configuration: %w", dependency.ErrMissing)
