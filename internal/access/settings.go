package access

import (
	"time"

	"github.com/interrex/interrex/state"
)

// The setting of the table, its default, and its bounds: agents look at how far they are
// once a second.
const (
	settingSilence = "access.max-silence"
	defaultSilence = 30 * time.Second
	leastSilence   = 5 * time.Second
	mostSilence    = 365 * 24 * time.Hour
)

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	return []state.Setting{state.DurationSetting(settingSilence,
		"how long an agent that does not hear the leader accepts access tokens", defaultSilence, leastSilence, mostSilence)}
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) {
	t.maxSilence.Store(int64(state.SettingDuration(value(settingSilence))))
}

// MaxSilence returns how long an agent that does not hear the leader accepts tokens.
func (t *Table) MaxSilence() time.Duration { return time.Duration(t.maxSilence.Load()) }
