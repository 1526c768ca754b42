package health

import (
	"fmt"
	"time"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/wording"
)

func (v View) halted() []alarm.Finding {
	if v.State != nil && v.State.Halted() != nil {
		return alarm.Found(v.State.Halted().Error())
	}
	return nil
}

func (v View) fsmHung() []alarm.Finding {
	if v.Machine == nil {
		return nil
	}
	busy := v.Machine.Busy()
	if busy < hungAfter {
		return nil
	}
	return []alarm.Finding{{Since: v.At.Add(-busy),
		Text: fmt.Sprintf("a call of the program's state machine has not returned for %s, and everything on this agent waits for it", wording.Rounded(busy.Truncate(time.Second)))}}
}

func (v View) fsmStopped() []alarm.Finding {
	if v.Machine == nil || v.Machine.Stopped() == nil {
		return nil
	}
	return alarm.Found(stopText("the program's state machine is stopped on this agent", v.Machine.Stopped()))
}

func (v View) fsmSnapshotFailed() []alarm.Finding {
	if v.Machine == nil || v.Machine.SnapshotFailed() == nil || v.Machine.Stopped() != nil {
		return nil
	}
	return alarm.Found(stopText("no snapshot can be made", v.Machine.SnapshotFailed()))
}

func stopText(what string, stop *fsm.Stop) string {
	return fmt.Sprintf("%s since %s: %s", what, stop.Since.UTC().Format(time.RFC3339), stop.Reason)
}

func (v View) projectionBehind() []alarm.Finding {
	if v.Notifier == nil {
		return nil
	}
	p := v.Notifier.Progress()
	if p.Failures > 0 || p.Lag == 0 || v.At.Sub(p.Fresh) < behindGrace {
		return nil
	}
	return []alarm.Finding{{Text: fmt.Sprintf("the table of lease holders is %s behind", wording.Count(p.Lag, "revision")), Since: p.Fresh}}
}

func (v View) projectionFailing() []alarm.Finding {
	if v.ProjectionDown != nil {
		return alarm.Found(v.ProjectionDown.Error())
	}
	if v.Notifier == nil {
		return nil
	}
	p := v.Notifier.Progress()
	if p.Failures == 0 {
		return nil
	}
	return []alarm.Finding{{Text: fmt.Sprintf("the table of lease holders is %s behind after %s: %v", wording.Count(p.Lag, "revision"), wording.Count(p.Failures, "failure"), p.Err), Since: p.Since}}
}
