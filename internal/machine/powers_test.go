package machine_test

import (
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/webhook"
)

// The tables have the powers that State looks for.
var (
	_ machine.Keeper    = (*lease.Table)(nil)
	_ machine.Fencer    = (*lease.Table)(nil)
	_ machine.Recoverer = (*lease.Table)(nil)
	_ machine.Recoverer = (*member.Table)(nil)
	_ machine.Fenced    = (*resource.Table)(nil)
	_ machine.Keeper    = (*fsm.Table)(nil)
	_ machine.Recorder  = (*change.Table)(nil)
	_ machine.Replacer  = (*resource.Table)(nil)
	_ machine.Replacer  = (*change.Table)(nil)
	_ machine.Replacer  = (*webhook.Table)(nil)
	_ machine.Replacer  = (*fsm.Table)(nil)

	_ machine.Uncompared = (*fsm.Table)(nil)
)
