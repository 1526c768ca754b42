package health

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/raftworker"
)

// fullPause is how long a caller should wait after a refusal for want of disk space.
const fullPause = time.Second

// DiskFull reports whether this agent has almost no disk space left, as of the last
// look.
func (h *Health) DiskFull() bool { return h.diskFull.Load() }

// Full returns, on the agent that leads, why only extends and the like are let in; nil:
// everything is. What is kept free is for them, so that leases are not lost with the
// first disk that is full.
func (h *Health) Full() error {
	why := h.full.Load()
	if why == nil {
		return nil
	}
	e := interrex.Errorf(interrex.ErrOverloaded, "%s: nothing is written but extends and revokes of leases until space is freed", *why)
	e.RetryAfter = fullPause
	return e
}

// lookForRoom is for an agent that has almost no disk space left, or whose raft has
// ended because of that, and for a leader of too many such agents.
func (h *Health) lookForRoom(at time.Time) []alarm.Finding {
	v := h.look()
	v.At = at
	why := v.withoutRoom()
	if full := why != ""; h.diskFull.Swap(full) != full && v.Transport != nil {
		v.Transport.Announce()
	}
	if why == "" {
		why = v.othersWithoutRoom()
	}
	if why == "" {
		h.full.Store(nil)
		return nil
	}
	h.full.Store(&why)
	return alarm.Found(why)
}

// withoutRoom says that this agent has almost no disk space left; empty: it has.
func (v View) withoutRoom() string {
	if err := v.disk().Err; errors.Is(err, raftworker.ErrDiskFull) {
		return err.Error()
	}
	if v.Directory == "" || v.InMemory {
		return ""
	}
	free, size, err := space(v.Directory)
	if err != nil || !AlmostFull(free, size) {
		return ""
	}
	return fmt.Sprintf("only %d MiB of %d are free at %s on agent %s", free>>20, size>>20, v.Directory, v.ID)
}

// othersWithoutRoom says, on the leader, that so many voters have almost no disk space
// left that the rest would be no quorum; empty: the rest is one.
func (v View) othersWithoutRoom() string {
	if !v.Leadership.Leader || v.Transport == nil {
		return ""
	}
	return withoutQuorum(v.Members(), func(id string) bool {
		said, _ := v.Transport.Peer(id)
		return said.DiskFull
	})
}

func withoutQuorum(members []interrex.Member, isFull func(id string) bool) string {
	var full []string
	voters := 0
	for _, m := range members {
		if m.Suffrage != voter {
			continue
		}
		voters++
		if isFull(m.ID) {
			full = append(full, m.ID)
		}
	}
	if len(full) == 0 || voters-len(full) > voters/2 {
		return ""
	}
	return fmt.Sprintf("almost no disk space is left on %s, without which %s have no quorum", strings.Join(full, " and "), wording.Count(voters, "voter"))
}
