package method

import (
	"slices"
	"sync"
	"sync/atomic"
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

// IsOff reports whether a setting is off.
func (s *Switches) IsOff(setting string) bool { return slices.Contains(s.now.Load().off, setting) }

// Changed is closed at the next change.
func (s *Switches) Changed() <-chan struct{} { return s.now.Load().changed }
