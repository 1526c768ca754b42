package api

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
)

// The settings that switch interrex's own services.
const (
	LeasesSetting    = "features.leases"
	ResourcesSetting = "features.resources"
	ChangesSetting   = "features.changes"
	WebhooksSetting  = "features.webhooks"
)

// Switches are the services that are switched off on one agent; see
// Service.Setting. They may be switched while the server runs: requests that have
// begun are answered, and watches end.
type Switches struct {
	mu  sync.Mutex // of Switch
	now atomic.Pointer[switched]
}

// switched is what is off until the next change.
type switched struct {
	off     []string
	changed chan struct{}
}

// NewSwitches returns Switches with these settings off.
func NewSwitches(off ...string) *Switches {
	s := &Switches{}
	s.now.Store(&switched{off, make(chan struct{})})
	return s
}

// Switch switches the services of a setting.
func (s *Switches) Switch(setting string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now.Load()
	if on != slices.Contains(before.off, setting) {
		return // it is so already
	}
	off := slices.DeleteFunc(slices.Clone(before.off), func(other string) bool { return other == setting })
	if !on {
		off = append(off, setting)
	}
	s.now.Store(&switched{off, make(chan struct{})})
	close(before.changed)
}

// Off returns the settings that are off.
func (s *Switches) Off() []string { return slices.Clone(s.now.Load().off) }

func (s *Switches) isOff(setting string) bool { return slices.Contains(s.now.Load().off, setting) }

// changed is closed at the next change.
func (s *Switches) changed() <-chan struct{} { return s.now.Load().changed }

// served refuses the methods of a service that is switched off here.
func (s *Server) served(setting string, c caller) error {
	if c.door == doorPeer || !s.config.Switches.isOff(setting) {
		return nil
	}
	return interrex.Errorf(interrex.KindDisabled, "%s are off by configuration on agent %s: set %s, or ask another agent",
		strings.TrimPrefix(setting, "features."), s.config.ID, setting)
}
