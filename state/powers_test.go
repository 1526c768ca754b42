package state_test

import (
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// The tables have the powers that State looks for.
var (
	_ state.Keeper    = (*lease.Table)(nil)
	_ state.Fencer    = (*lease.Table)(nil)
	_ state.Recoverer = (*lease.Table)(nil)
	_ state.Recoverer = (*member.Table)(nil)
	_ state.Fenced    = (*resource.Table)(nil)
	_ state.Keeper    = (*fsm.Table)(nil)
	_ state.Recorder  = (*change.Table)(nil)
	_ state.Replacer  = (*resource.Table)(nil)
	_ state.Replacer  = (*change.Table)(nil)
	_ state.Replacer  = (*webhook.Table)(nil)
	_ state.Replacer  = (*fsm.Table)(nil)

	_ state.Uncompared = (*fsm.Table)(nil)
)
