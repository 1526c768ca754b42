package method

import (
	"context"
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
	current context.Context // done at the change
	end     context.CancelFunc
}

func newSwitched(off []string) *switched {
	now := &switched{off: off}
	now.current, now.end = context.WithCancel(context.Background())
	return now
}

// NewSwitches returns Switches with the given settings off.
func NewSwitches(off ...string) *Switches {
	s := &Switches{}
	s.now.Store(newSwitched(off))
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
	s.now.Store(newSwitched(off))
	before.end()
}

// Off returns the settings that are off.
func (s *Switches) Off() []string { return slices.Clone(s.now.Load().off) }

// IsOff reports whether a setting is off.
func (s *Switches) IsOff(setting string) bool { return slices.Contains(s.now.Load().off, setting) }

// UntilChanged returns a context that is done at the next change.
func (s *Switches) UntilChanged() context.Context { return s.now.Load().current }
