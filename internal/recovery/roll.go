package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/peering"
)

// recently is how long after an agent was heard it still counts as responding: others
// are probed more often than that, also those that cannot be dialled from here.
const recently = 3 * peering.ProbeTime

// rollTimeout bounds the dials of all agents: each takes at most 5 s, eight at a time.
const rollTimeout = 3 * time.Minute

// Roll is which of the other agents respond.
type Roll struct {
	Responding []string // the IDs of those that accept this agent
	Refusing   []string // those that respond and reject it, or that it rejects, and why
	Silent     []string // the others, and why
}

// CallRoll dials every agent that a transport knows of. The error is that ctx or the time
// for it has ended before: those that were not dialled would count as silent.
func CallRoll(ctx context.Context, t *peering.Transport, now clock.Clock) (r Roll, err error) {
	ctx, cancel := context.WithTimeout(ctx, rollTimeout)
	defer cancel()
	since := now.Now().Add(-recently)
	_ = t.Meet(ctx) // the contacts have its outcome, one by one
	if ctx.Err() != nil {
		return r, fmt.Errorf("cannot say which agents respond: not all of them could be dialled: %w", context.Cause(ctx))
	}
	for _, c := range t.Contacts() {
		switch heard := c.Heard.After(since); {
		case c.Refused:
			verdict := "rejects this agent"
			if c.Ours {
				verdict = "is rejected by this agent"
			}
			r.Refusing = append(r.Refusing, fmt.Sprintf("%s at %s responds and %s: %v", orUnknown(c.ID), c.Address, verdict, c.Err))
		case c.Err != nil && !heard:
			r.Silent = append(r.Silent, fmt.Sprintf("%s at %s: %v", orUnknown(c.ID), c.Address, c.Err))
		case c.ID != "" && !slices.Contains(r.Responding, c.ID):
			r.Responding = append(r.Responding, c.ID)
		}
	}
	return r, nil
}

// Alone returns an error that names the agents that respond; nil: none does.
func (r Roll) Alone() error {
	found := slices.Clone(r.Refusing)
	for _, id := range r.Responding {
		found = append(found, id+" responds")
	}
	if len(found) == 0 {
		return nil
	}
	return errors.New(strings.Join(found, "; "))
}

func orUnknown(id string) string {
	if id == "" {
		return "an agent"
	}
	return id
}
