package health

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/raftworker"
)

// bootstrapWaiting is for an agent that is to found a cluster with others.
func (v View) bootstrapWaiting() []alarm.Finding {
	expect := v.Config.Cluster.BootstrapExpect
	if expect < 2 || v.Joins != "" || !v.outside() {
		return nil
	}
	if _, ready, err := membership.Decide(v.Transport.Self(), v.Transport.Peers(), expect); err != nil {
		return alarm.Found(err.Error())
	} else if ready {
		return nil
	}
	var met, missing []string
	for _, peer := range v.Transport.Peers() {
		met = append(met, peer.ID)
	}
	for _, c := range v.Transport.Contacts() {
		switch {
		case c.Refused:
			return nil // an alarm of its own
		case c.Err != nil:
			missing = append(missing, unreached(c))
		}
	}
	text := fmt.Sprintf("waiting for %d of %d", expect-1-len(met), expect)
	if len(met) > 0 {
		text += ": met " + strings.Join(met, ", ")
	}
	return alarm.Found(strings.Join(append([]string{text}, missing...), "; "))
}

// outside reports whether the agent runs, and is in no cluster.
func (v View) outside() bool {
	if v.Transport == nil || v.State == nil || v.State.Identity().ClusterID != "" {
		return false
	}
	r := v.Running()
	return r != nil && len(r.GetConfiguration().Configuration().Servers) == 0
}

// joinWaiting is for an agent that is to be let in by a cluster.
func (v View) joinWaiting() []alarm.Finding {
	switch {
	case v.Waits != "":
		return []alarm.Finding{{Text: v.Waits, Since: v.WaitsSince}}
	case !v.outside() || v.Joins == "" && v.Config.Cluster.BootstrapExpect > 1:
		return nil
	}
	text := "waiting to be let in by the cluster"
	if v.Joins != "" {
		text += " " + v.Joins
	}
	text += " at " + strings.Join(v.Config.Cluster.Join, ", ")
	for _, c := range v.Transport.Contacts() {
		if c.Err != nil {
			text += "; " + unreached(c)
		}
	}
	return []alarm.Finding{{Text: text, Since: v.Transport.Began()}}
}

// waits says what an agent that is in no cluster waits for, and since when; empty: it is
// in one.
func (v View) waits() string {
	found := append(v.joinWaiting(), v.bootstrapWaiting()...)
	if len(found) == 0 {
		return ""
	}
	since := cmp.Or(found[0].Since, v.Started)
	return fmt.Sprintf("none: %s (since %s)", found[0].Text, since.UTC().Format(time.RFC3339))
}

// unreached says why an agent was not reached.
func unreached(c peering.Contact) string {
	switch {
	case errors.Is(c.Err, unix.ECONNREFUSED):
		return c.Address + " refuses connections"
	case isTimeout(c.Err):
		return c.Address + " does not respond"
	}
	return c.Address + ": " + c.Err.Error()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func (v View) memberSilent() (found []alarm.Finding) {
	for _, m := range v.Members() {
		if !m.Silent || m.Refusal != "" && m.Refusal != notListening {
			continue // one that is refused has an alarm of its own
		}
		f := alarm.Finding{Subject: m.ID, Text: "not reached yet at any address of cluster.join"}
		if m.Address != "" {
			f.Text = "nothing heard from it at " + m.Address
		}
		f.Since = v.Transport.Began()
		if m.LastContact != nil {
			f.Since = v.At.Add(-*m.LastContact)
		}
		c := v.Transport.Contact(m.ID)
		if c.Err != nil {
			f.Text = unreached(c)
		}
		found = append(found, f)
	}
	return found
}

// refusals returns the refusals by one side.
func (v View) refusals(ours bool) (found []alarm.Finding) {
	if v.Transport == nil || v.Removed != nil {
		return nil
	}
	for _, c := range v.Transport.Contacts() {
		if c.Refused && c.Ours == ours && !c.Removed {
			found = append(found, alarm.Finding{Subject: orAddress(c), Text: c.Err.Error()})
		}
	}
	return found
}

func orAddress(c peering.Contact) string {
	if c.ID == "" {
		return c.Address
	}
	return c.ID
}

func (v View) refused() []alarm.Finding { return v.refusals(false) }

func (v View) peerRefused() []alarm.Finding { return v.refusals(true) }

// betweenLives reports whether raft ended because it had no leader for too long, and
// is about to be started again. That recurs while there is no quorum, and what was
// wrong before still is.
func (v View) betweenLives() bool {
	return v.Running() == nil && errors.Is(v.RaftDown, raftworker.ErrNoLeaderTimeout)
}

// leaderKnown reports whether this agent leads or knows who does.
func (v View) leaderKnown() bool { return v.Leadership.Leader || v.Leadership.LeaderID != "" }

func (v View) quorumLost() []alarm.Finding {
	if v.Forwards {
		return v.leaderless()
	}
	if v.leaderKnown() || v.Running() == nil {
		return nil
	}
	if text := lostQuorum(v.Members()); text != "" {
		return alarm.Found(text)
	}
	return nil
}

// lostQuorum says which voters are missing. A silent agent is to be started; one that
// refuses this one, or is refused, is running already.
func lostQuorum(members []interrex.Member) string {
	var silent, refusals []string
	voters := 0
	for _, m := range members {
		if m.Suffrage != voter {
			continue
		}
		voters++
		switch {
		case m.Refusal != "" && m.Refusal != notListening:
			refusals = append(refusals, fmt.Sprintf("not connected: %s, %s", m.ID, m.Refusal))
		case m.Silent, m.Refusal != "":
			silent = append(silent, m.ID)
		}
	}
	if voters == 0 {
		return ""
	}
	text := []string{fmt.Sprintf("this agent knows of no leader: %d of %s must be able to reach each other", voters/2+1, wording.Count(voters, "voter"))}
	if len(silent) > 0 {
		text = append(text, "silent: "+strings.Join(silent, ", "))
	}
	return strings.Join(append(text, refusals...), "; ")
}

func (v View) inQuarantine() []alarm.Finding {
	if err := v.quarantined(); err != nil {
		return alarm.Found(err.Error())
	}
	return nil
}

// logLost is for a majority that has met and can elect no leader, since none of its
// logs has what one of them has stored. It counts from the loss of the leader, not
// from the start of raft, which is restarted each minute.
func (h *Health) logLost(at time.Time) []alarm.Finding {
	v := h.look()
	if v.leaderKnown() {
		h.leaderless.Store(nil)
		return nil
	}
	h.leaderless.CompareAndSwap(nil, &at)
	if v.Running() == nil || v.Transport == nil {
		return nil
	}
	logs := map[string]peering.LogState{v.ID: v.Transport.Self().Log}
	for _, peer := range v.Transport.Peers() {
		logs[peer.ID] = peer.Log
	}
	if text := lostLog(v.Members(), logs); text != "" {
		return []alarm.Finding{{Text: text, Since: *h.leaderless.Load()}}
	}
	return nil
}

func lostLog(members []interrex.Member, logs map[string]peering.LogState) string {
	voters, met, short := 0, []string{}, false
	for _, m := range members {
		if m.Suffrage != voter {
			continue
		}
		voters++
		if log := logs[m.ID]; log.Life != "" && !m.Silent {
			met = append(met, fmt.Sprintf("the log of %s ends at index %d of term %d, and it had stored entries up to index %d of term %d", m.ID, log.End.Index, log.End.Term, log.Floor.Index, log.Floor.Term))
			short = short || log.End.Compare(log.Floor) < 0
		}
	}
	if !short || len(met) <= voters/2 {
		return ""
	}
	return "no member may lead: " + strings.Join(met, "; ")
}

func (v View) raftDown() []alarm.Finding {
	if v.Running() != nil || v.Removed != nil || v.Waits != "" || v.Forwards {
		return nil
	}
	for _, other := range []error{raftworker.ErrDiskFailed, raftworker.ErrDiskFull, raftworker.ErrDiskHung, raftworker.ErrNoLeaderTimeout} {
		if errors.Is(v.RaftDown, other) {
			return nil // an alarm of its own
		}
	}
	if v.RaftDown != nil {
		return alarm.Found(v.RaftDown.Error())
	}
	switch {
	case v.RaftStarting.IsZero():
		return alarm.Found("raft is not running: a worker that it needs is missing")
	case time.Since(v.RaftStarting) < readGrace:
		return nil
	}
	return alarm.Found("raft is not running yet: it is still reading its snapshot and its log")
}

func (v View) removed() []alarm.Finding {
	if v.Removed == nil {
		return nil
	}
	return alarm.Found(v.Removed.Error())
}

func (v View) recoveryFailed() []alarm.Finding {
	if v.RecoveryFailed == nil {
		return nil
	}
	return alarm.Found("the backstop began to recover the cluster, which failed, and does not try again: " + v.RecoveryFailed.Error())
}

func (v View) snapshotLoop() []alarm.Finding {
	if v.Vitals == nil || v.Vitals.Stuck() == 0 {
		return nil
	}
	return alarm.Found(fmt.Sprintf("the snapshot of log index %d is installed repeatedly", v.Vitals.Stuck()))
}

// workerFailing is for the workers that have no condition of their own.
func (v View) workerFailing() (found []alarm.Finding) {
	for _, name := range slices.Sorted(maps.Keys(v.Failing)) {
		found = append(found, alarm.Finding{Subject: name, Text: v.Failing[name].Error()})
	}
	return found
}
