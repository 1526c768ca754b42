package health

import (
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

// MayLeave returns why an agent must not leave its cluster; nil: it may. The last voter
// must not, also when it is forced; forced, others may although too few voters respond.
func MayLeave(id string, members []interrex.Member, forced bool) error {
	voters, votes := 0, false
	for _, m := range members {
		if m.Suffrage == voter {
			voters++
			votes = votes || m.ID == id
		}
	}
	switch {
	case votes && voters == 1:
		return interrex.Errorf(interrex.ErrConflict, "%s is the last voter, and without it there is no cluster: to end the cluster, stop the agent, and delete its data directory", id)
	case votes && !forced:
		return survives(members, id)
	}
	return nil
}

// survives returns an error that names the silent voters if the voters would be no
// quorum without one of them; nil: they would.
func survives(members []interrex.Member, without string) error {
	var rest, silent []string
	for _, m := range members {
		if m.Suffrage != voter || m.ID == without {
			continue
		}
		if rest = append(rest, m.ID); m.Silent {
			silent = append(silent, m.ID)
		}
	}
	if len(rest)-len(silent) > len(rest)/2 {
		return nil
	}
	return interrex.Errorf(interrex.ErrConflict, "without %s there is no quorum: of %s (%s) %d do not respond (%s): start them first, or remove those that do not come back (--force removes %s all the same)",
		without, wording.Count(len(rest), "other voter"), strings.Join(rest, ", "), len(silent), strings.Join(silent, ", "), without)
}
