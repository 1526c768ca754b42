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

// Switches records which services are switched off on one agent; see
// Service.Setting. They may change while the server runs: active requests are
// answered, and watches end.
type Switches struct {
	mu  sync.Mutex // held by Switch
	now atomic.Pointer[switched]
}

// switched is the set of settings that are off until the next change.
type switched struct {
	off     []string
	changed chan struct{}
}

// NewSwitches returns Switches with the given settings off.
func NewSwitches(off ...string) *Switches {
	s := &Switches{}
	s.now.Store(&switched{off, make(chan struct{})})
	return s
}

// Switch switches the services of a setting on or off.
func (s *Switches) Switch(setting string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now.Load()
	if on != slices.Contains(before.off, setting) {
		return // unchanged
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

// Changed returns a channel that is closed at the next change.
func (s *Switches) Changed() <-chan struct{} { return s.now.Load().changed }
