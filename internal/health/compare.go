package health

import (
	"fmt"
	"strings"

	"github.com/interrex/interrex/internal/alarm"
)

// stateDiffers is for a comparison of the members' states that has found a difference,
// until those that took part in it agree.
func (v View) stateDiffers() []alarm.Finding {
	c := v.Differs
	if c == nil {
		return nil
	}
	text := fmt.Sprintf("the members' states differ at log index %d: %s", c.LogIndex, strings.Join(c.Differences, "; "))
	if c.Kept != "" {
		text += "; the log and the snapshots of this agent from before are in " + c.Kept
	}
	return alarm.Found(text)
}
