package interrex_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
)

// TestBoundsAreThoseOfTheContract: a constant that a test of its own package uses
// would take that test along when it changes.
func TestBoundsAreThoseOfTheContract(t *testing.T) {
	for name, bound := range map[string][2]int64{
		"bytes of metadata":                  {codec.MaxMetadata, 4 << 10},
		"pins of a lease":                    {lease.MaxPins, 16},
		"bytes of a pin's reason":            {lease.MaxReason, 1 << 10},
		"a default ttl":                      {int64(interrex.DefaultTTL), int64(15 * time.Second)},
		"bytes of a request id":              {limits.MaxRequestID, 64},
		"operations of a group":              {limits.MaxGroup, 64},
		"endings of an entry":                {limits.MaxEndings, 1000},
		"resources that a clear deletes":     {resource.MaxCleared, 1000},
		"resources of a lease":               {resource.MaxLeaseResources, 1024},
		"long polls":                         {change.MaxWaiting, 65_536},
		"changes of a page":                  {services.MaxChanges, 1000},
		"a wait for what is not applied yet": {int64(apiserver.DefaultReadWait), int64(10 * time.Second)},
		"webhook calls of an agent":          {hookcaller.MaxCalls, 64},
		"webhook calls of a hook":            {hookcaller.MaxHookCalls, 32},
		"bytes of a machine's error":         {fsm.MaxError, 4 << 10},
		"bytes of a machine's command":       {fsm.MaxData, 1<<20 - 4<<10},
		"bytes of a machine's result":        {fsm.MaxResult, 1<<20 - 4<<10},
		"bytes of a machine's snapshot":      {fsm.MaxSnapshot, 256 << 20},
		"answers of a machine":               {fsm.MaxAnswers, 4096},
		"bytes of a machine's answers":       {fsm.MaxAnswerBytes, 16 << 20},
		"entries in the log":                 {limits.MinTrailingLogs, 10_240},
	} {
		if bound[0] != bound[1] {
			t.Errorf("%s: %d, and docs/semantics.md says %d", name, bound[0], bound[1])
		}
	}
}
