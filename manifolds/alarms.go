package manifolds

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/juju/worker/v3"
	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/transport"
)

// How long things may be wrong before that is an alarm: an election, a worker's
// start and a peer's restart pass by themselves.
const (
	electionGrace = 5 * time.Second
	restartGrace  = 2 * time.Second
	refusalGrace  = 2 * time.Second
	behindGrace   = 30 * time.Second
	readGrace     = time.Minute // a large snapshot is read
)

// again is how long what is tried again and again has to go well: the engine
// waits up to that long before the next start of what has failed.
const again = 15 * time.Second

// Where an alarm begins.
const (
	silentAfter       = transport.ProbeTime + time.Second
	hungAfter         = 2 * time.Second // raft's log gives a write up after 5 s
	certificateNotice = 30 * 24 * time.Hour
	nearLimit         = 0.8
	lowSpace          = 1 << 30 // bytes, or a tenth of a small disk
)

// diskLowAlarm makes another member lead.
const diskLowAlarm = "disk-low"

// conditions are all that can be wrong: one line each.
func (s *Set) conditions() []alarm.Condition {
	return []alarm.Condition{
		{Name: "api-down", Look: s.apiDown, After: restartGrace,
			Do: "free the address or fix the files that the text names; the agent retries automatically"},
		{Name: "api-open", Look: s.apiOpen,
			Do: "set api.tls.client-ca, or listen on 127.0.0.1: everyone who can reach this port may do everything"},
		{Name: "bootstrap-waiting", Look: s.bootstrapWaiting, After: electionGrace,
			Do: "start the missing agents, with this one's address or theirs in cluster.join, and the same cluster.bootstrap-expect"},
		{Name: "certificate-ending", Look: s.certificateEnding,
			Do: "issue a new certificate and replace the files: they are read again without a restart"},
		{Name: "certificate-unusable", Look: s.certificateUnusable, After: restartGrace,
			Do: "fix the files: the previous ones stay in use until then, but the next start would fail"},
		{Name: "disk-failed", Look: s.diskFailed, Keep: again,
			Do: "check the system's log; the agent reopens its log automatically when the disk works; if files of the log are damaged or gone, restore a copy made after the agent's last stop"},
		{Name: "disk-full", Look: s.diskFull, Keep: again,
			Do: "free space in the data directory's file system; the agent continues automatically"},
		{Name: "disk-hung", Look: s.diskHung, Keep: again,
			Do: "check the system's log and the storage: a write to the log has not returned"},
		{Name: diskLowAlarm, Look: s.diskLow,
			Do: "free space in the data directory's file system before raft's log runs out"},
		{Name: "disk-slow", Look: s.diskSlow,
			Do: "put the data directory on a faster disk, or on one of its own: each write waits for it"},
		{Name: "fsm-hung", Look: s.fsmHung,
			Do: "fix the program's state machine, whose methods must return, and restart this agent: until the call returns nothing is applied here, leases included"},
		{Name: "fsm-snapshot-failed", Look: s.fsmSnapshotFailed,
			Do: "fix the program's state machine: until a snapshot succeeds raft's log grows, but nothing is lost"},
		{Name: "fsm-stopped", Look: s.fsmStopped,
			Do: "restart this agent with a fixed state machine: it is restored from snapshot and log; leases are not affected; until then this agent makes no snapshots, and its log grows"},
		{Name: "halted", Look: s.halted,
			Do: "run the version that the others run; if this agent's disk is the cause, restore a copy of its directory made after its last stop, or its disk counts as lost"},
		{Name: "log-lost", Look: s.logLost, After: time.Minute, Keep: again,
			Do: "start the missing members; if none of them has more, recover from the member with the longest log: see 'interrex agent repair --help'"},
		{Name: "limit-near", Look: s.limitNear,
			Do: "find the clients that use so much, or raise the setting that the text names; beyond the limit requests fail as overloaded"},
		{Name: "member-silent", Look: s.memberSilent, Unknown: s.betweenLives,
			Do: "start or resume that agent, or fix the network to it"},
		{Name: "peer-refused", Look: s.peerRefused, After: refusalGrace, Keep: again,
			Do: "fix that agent or this one, as the text says: its directory, certificate, CA or version"},
		{Name: "projection-behind", Look: s.projectionBehind, After: behindGrace,
			Do: "put the database of lease holders on a faster disk, or give this agent more CPU; leases are not affected"},
		{Name: "projection-failing", Look: s.projectionFailing, After: electionGrace,
			Do: "fix the database of lease holders; it is refilled automatically; one of another cluster or epoch is left untouched: configure a separate one for this cluster; leases are not affected"},
		{Name: "quarantine", Look: s.inQuarantine, Unknown: s.betweenLives,
			Do: "start the missing members: they send this agent what it lacks; if its disk is an older copy, restore the newest one, or its disk counts as lost"},
		{Name: "quorum-lost", Look: s.quorumLost, After: electionGrace, Unknown: s.betweenLives,
			Do: "start the silent agents, or fix the network to them; where one agent rejects another, fix the reason that it gives; nothing can be written through this agent until then"},
		{Name: "raft-down", Look: s.raftDown, After: restartGrace, Keep: again,
			Do: "see the log of this agent; it retries automatically; if its directory is damaged, stop the agent, keep a copy of the directory, and run 'interrex agent repair'"},
		{Name: "refused", Look: s.refused, After: refusalGrace, Keep: again,
			Do: "fix this agent as the peer's reason says: its directory, certificate, CA or version; an empty directory cannot replace a member's"},
		{Name: "snapshot-loop", Look: s.snapshotLoop,
			Do: "if it persists, restart this agent, then the leader"},
		{Name: "webhook-failing", Look: s.webhookFailing,
			Do: "fix the service that the webhook calls, and try 'interrex webhook test NAME'; or delete the webhook"},
		{Name: "webhook-skipped", Look: s.webhookSkipped,
			Do: "bring the service that the webhook calls up to date by hand: these events are not sent again; the alarm ends after an hour, or when the webhook is set again"},
		{Name: "worker-failing", Look: s.workerFailing, After: restartGrace, Keep: again,
			Do: "see 'interrex agent report'; the worker is restarted automatically"},
	}
}

func (s *Set) startAlarms(*unit) (worker.Worker, error) { return s.alarms.Watch() }

func (s *Set) apiDown(time.Time) []alarm.Finding {
	current, _ := s.configuration.Current()
	if current.API.Listen == "" || s.Addresses()["api"] != "" {
		return nil
	}
	if err := s.Starts.Down(s.name(APIListenerName)); err != nil {
		return alarm.Found(err.Error())
	}
	return alarm.Found("nothing listens on " + current.API.Listen)
}

func (s *Set) apiOpen(time.Time) []alarm.Finding {
	api := s.section().API
	host, _, err := net.SplitHostPort(api.Listen)
	if err != nil || inbound.IsLoopback(host) || api.TLS.ClientCA != "" {
		return nil
	}
	return alarm.Found(fmt.Sprintf("the API at %s accepts requests from everyone, operators' too, because it requires no client certificate", api.Listen))
}

func (s *Set) section() config.Config {
	current, _ := s.configuration.Current()
	return current
}

// bootstrapWaiting is for an agent that shall make a cluster with others.
func (s *Set) bootstrapWaiting(time.Time) []alarm.Finding {
	now, expect := s.view(), s.section().Cluster.BootstrapExpect
	if expect < 2 || now.transport == nil || now.state == nil || now.state.Identity().ClusterID != "" {
		return nil
	}
	if r := now.running(); r == nil || len(r.GetConfiguration().Configuration().Servers) > 0 {
		return nil
	}
	if _, ready, err := transport.Decide(now.transport.Self(), now.transport.Peers(), expect); err != nil {
		return alarm.Found(err.Error())
	} else if ready {
		return nil
	}
	var met, missing []string
	for _, peer := range now.transport.Peers() {
		met = append(met, peer.ID)
	}
	for _, c := range now.transport.Contacts() {
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

// unreached says why an agent was not reached.
func unreached(c transport.Contact) string {
	switch {
	case errors.Is(c.Err, unix.ECONNREFUSED):
		return c.Address + " refuses the connection"
	case isTimeout(c.Err):
		return c.Address + " does not respond"
	}
	return c.Address + ": " + c.Err.Error()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func (s *Set) certificateEnding(now time.Time) (found []alarm.Finding) {
	for which, end := range s.certificateEnds() {
		switch left := end.Sub(now); {
		case left <= 0:
			found = append(found, alarm.Finding{Subject: which, Text: "it expired at " + end.UTC().Format(time.RFC3339)})
		case left <= certificateNotice:
			found = append(found, alarm.Finding{Subject: which, Text: fmt.Sprintf("it expires in %s, at %s", interrex.FormatDuration(left), end.UTC().Format(time.RFC3339))})
		}
	}
	return found
}

func (s *Set) certificateUnusable(time.Time) (found []alarm.Finding) {
	for which, source := range s.view().certificates() {
		files, is := source.(interface{ Problem() error })
		if !is {
			continue
		}
		if err := files.Problem(); err != nil {
			found = append(found, alarm.Finding{Subject: which, Text: err.Error()})
		}
	}
	return found
}

// vitals are what a running raft knows of its disk.
type vitals interface {
	Disk() (d raftworker.DiskState, running bool)
	Stuck() uint64
	Quarantine() error
}

// disk says how raft's disk is: what a running raft knows, or why it ended.
func (s *Set) disk() raftworker.DiskState {
	if w := running[vitals](s, RaftName); w != nil {
		if d, running := w.Disk(); running {
			return d
		}
	}
	return raftworker.DiskState{Err: s.Starts.Down(s.name(RaftName))}
}

// diskEnded is a condition that has ended raft.
func (s *Set) diskEnded(kind error) []alarm.Finding {
	if err := s.disk().Err; errors.Is(err, kind) {
		return alarm.Found(err.Error())
	}
	return nil
}

func (s *Set) diskFailed(time.Time) []alarm.Finding { return s.diskEnded(raftworker.ErrDiskFailed) }

func (s *Set) diskFull(time.Time) []alarm.Finding { return s.diskEnded(raftworker.ErrDiskFull) }

func (s *Set) diskHung(time.Time) []alarm.Finding {
	if d := s.disk(); d.Writing > hungAfter {
		return alarm.Found("a write to raft's log has not returned yet")
	}
	return s.diskEnded(raftworker.ErrDiskHung)
}

func (s *Set) diskSlow(time.Time) []alarm.Finding {
	if !s.disk().Slow {
		return nil
	}
	return alarm.Found("several of the last minute's writes to raft's log took more than 500 ms")
}

func (s *Set) diskLow(time.Time) []alarm.Finding {
	dir := running[*dataDir](s, IdentityName)
	if dir == nil || s.config.Agent.DataDir == "" {
		return nil
	}
	free, size, err := space(dir.path)
	switch {
	case err != nil:
		return alarm.Found(fmt.Sprintf("cannot tell how much is free at %s: %v", dir.path, err))
	case low(free, size):
		return alarm.Found(fmt.Sprintf("%d MiB of %d are free at %s", free>>20, size>>20, dir.path))
	}
	return nil
}

func low(free, size uint64) bool { return free < min(lowSpace, size/10) }

// space says how many bytes a directory's file system has.
func space(dir string) (free, size uint64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), fs.Blocks * uint64(fs.Bsize), nil
}

func (s *Set) halted(time.Time) []alarm.Finding {
	if st := s.State(); st != nil && st.Halted() != nil {
		return alarm.Found(st.Halted().Error())
	}
	return nil
}

func (s *Set) fsmHung(now time.Time) []alarm.Finding {
	m := running[*fsm.Table](s, StateName)
	if m == nil {
		return nil
	}
	busy := m.Busy()
	if busy < hungAfter {
		return nil
	}
	return []alarm.Finding{{Since: now.Add(-busy),
		Text: fmt.Sprintf("a call of the program's state machine has not returned for %s, and everything on this agent waits for it", interrex.FormatDuration(busy.Truncate(time.Second)))}}
}

func (s *Set) fsmStopped(time.Time) []alarm.Finding {
	m := running[*fsm.Table](s, StateName)
	if m == nil || m.Stopped() == nil {
		return nil
	}
	return alarm.Found(stopText("the program's state machine is stopped on this agent", m.Stopped()))
}

func (s *Set) fsmSnapshotFailed(time.Time) []alarm.Finding {
	m := running[*fsm.Table](s, StateName)
	if m == nil || m.SnapshotFailed() == nil || m.Stopped() != nil {
		return nil
	}
	return alarm.Found(stopText("no snapshot can be made", m.SnapshotFailed()))
}

func stopText(what string, stop *fsm.Stop) string {
	return fmt.Sprintf("%s since %s: %s", what, stop.Since.UTC().Format(time.RFC3339), stop.Reason)
}

func (s *Set) limitNear(time.Time) (found []alarm.Finding) {
	now := s.view()
	readable := now.readable()
	note := func(what string, is, limit int64) {
		if float64(is) >= nearLimit*float64(limit) {
			found = append(found, alarm.Finding{Subject: what, Text: fmt.Sprintf("%d of %d", is, limit)})
		}
	}
	if now.state != nil && readable {
		names, limit := now.state.Names()
		note("request-names", int64(names), int64(limit))
	}
	if now.queue != nil {
		normal, extend := now.queue.Depth()
		note("queue", int64(max(normal, extend)), queue.Capacity)
	}
	if now.ring != nil {
		note("watchers", int64(now.ring.Stats().Watchers), int64(now.ring.MaxWatchers()))
	}
	if now.resources != nil && readable {
		used := now.resources.Usage()
		note("resources.max-count", used.Count, used.MaxCount)
		note("resources.max-bytes", used.Bytes, used.MaxBytes)
	}
	if now.webhooks != nil && readable {
		note("webhooks", int64(len(now.webhooks.Hooks())), interrex.MaxWebhooks)
	}
	if now.hooks != nil {
		note("webhook-calls", int64(now.hooks.Calls()), hookcaller.MaxCalls)
	}
	return found
}

func (s *Set) memberSilent(time.Time) (found []alarm.Finding) {
	now := s.view()
	for _, m := range s.members(now) {
		if !m.Silent {
			continue
		}
		f := alarm.Finding{Subject: m.ID, Text: "not reached yet at any address of cluster.join"}
		if m.Address != "" {
			f.Text = "nothing heard from it at " + m.Address
		}
		f.Since = now.transport.Began()
		if m.LastContact != nil {
			f.Since = s.config.Agent.Clock.Now().Add(-*m.LastContact)
		}
		c := now.transport.Contact(m.ID)
		if c.Err != nil {
			f.Text = unreached(c)
		}
		if !c.Refused { // that is an alarm of its own
			found = append(found, f)
		}
	}
	return found
}

// verdicts returns the refusals of one side.
func (s *Set) verdicts(ours bool) (found []alarm.Finding) {
	t := running[*transport.Transport](s, TransportName)
	if t == nil {
		return nil
	}
	for _, c := range t.Contacts() {
		if c.Refused && c.Ours == ours {
			found = append(found, alarm.Finding{Subject: orAddress(c), Text: c.Err.Error()})
		}
	}
	return found
}

func orAddress(c transport.Contact) string {
	if c.ID == "" {
		return c.Address
	}
	return c.ID
}

func (s *Set) refused(time.Time) []alarm.Finding { return s.verdicts(false) }

func (s *Set) peerRefused(time.Time) []alarm.Finding { return s.verdicts(true) }

func (s *Set) projectionBehind(now time.Time) []alarm.Finding {
	w := running[*notify.Worker](s, NotifyName)
	if w == nil {
		return nil
	}
	p := w.Progress()
	if p.Failures > 0 || p.Lag == 0 || now.Sub(p.Fresh) < behindGrace {
		return nil
	}
	return []alarm.Finding{{Text: fmt.Sprintf("the table of lease holders is %d revisions behind", p.Lag), Since: p.Fresh}}
}

func (s *Set) projectionFailing(time.Time) []alarm.Finding {
	if err := s.Starts.Down(s.name(ProjectionName)); err != nil {
		return alarm.Found(err.Error())
	}
	w := running[*notify.Worker](s, NotifyName)
	if w == nil {
		return nil
	}
	p := w.Progress()
	if p.Failures == 0 {
		return nil
	}
	return []alarm.Finding{{Text: fmt.Sprintf("the table of lease holders is %d revisions behind after %s: %v", p.Lag, plural(p.Failures, "failure"), p.Err), Since: p.Since}}
}

// betweenLives reports whether raft is about to be started again because it
// had no leader for too long, as happens again and again while there is no
// quorum: what was wrong before still is.
func (s *Set) betweenLives() bool {
	return s.view().running() == nil && errors.Is(s.Starts.Down(s.name(RaftName)), raftworker.ErrNoLeaderTimeout)
}

// quorumLost is for an agent that knows of no leader.
func (s *Set) quorumLost(time.Time) []alarm.Finding {
	now := s.view()
	l := s.Leadership.Current()
	if l.Leader || l.LeaderID != "" || now.running() == nil {
		return nil
	}
	if text := lostQuorum(s.members(now)); text != "" {
		return alarm.Found(text)
	}
	return nil
}

// lostQuorum says who is missing. A silent agent is to be started; one that refuses
// this one, or is refused, runs already.
func lostQuorum(members []interrex.Member) string {
	var silent, refusals []string
	voters := 0
	for _, m := range members {
		if m.Suffrage != voter {
			continue
		}
		voters++
		switch {
		case m.Refusal != "":
			refusals = append(refusals, fmt.Sprintf("not connected: %s, %s", m.ID, m.Refusal))
		case m.Silent:
			silent = append(silent, m.ID)
		}
	}
	if voters == 0 {
		return ""
	}
	text := []string{fmt.Sprintf("this agent knows of no leader: %d of %s must be able to reach each other", voters/2+1, plural(voters, "voter"))}
	if len(silent) > 0 {
		text = append(text, "silent: "+strings.Join(silent, ", "))
	}
	return strings.Join(append(text, refusals...), "; ")
}

func (s *Set) inQuarantine(time.Time) []alarm.Finding {
	if err := s.quarantined(); err != nil {
		return alarm.Found(err.Error())
	}
	return nil
}

// logLost is for a majority that has met and may elect nobody, since the log of
// none of them has what one of them has stored. It is found since there is no
// leader, and not since this life of raft, which begins again each minute.
func (s *Set) logLost(at time.Time) []alarm.Finding {
	now, is := s.view(), s.Leadership.Current()
	if is.Leader || is.LeaderID != "" {
		s.leaderless.Store(nil)
		return nil
	}
	s.leaderless.CompareAndSwap(nil, &at)
	if now.running() == nil || now.transport == nil {
		return nil
	}
	logs := map[string]transport.LogState{s.ID(): now.transport.Self().Log}
	for _, peer := range now.transport.Peers() {
		logs[peer.ID] = peer.Log
	}
	if text := lostLog(s.members(now), logs); text != "" {
		return []alarm.Finding{{Text: text, Since: *s.leaderless.Load()}}
	}
	return nil
}

func lostLog(members []interrex.Member, logs map[string]transport.LogState) string {
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

func (s *Set) raftDown(time.Time) []alarm.Finding {
	if s.view().running() != nil {
		return nil
	}
	err := s.Starts.Down(s.name(RaftName))
	for _, told := range []error{raftworker.ErrDiskFailed, raftworker.ErrDiskFull, raftworker.ErrDiskHung, raftworker.ErrNoLeaderTimeout} {
		if errors.Is(err, told) {
			return nil // an alarm of its own
		}
	}
	if err != nil {
		return alarm.Found(err.Error())
	}
	switch since := s.Starts.Starting(s.name(RaftName)); {
	case since.IsZero():
		return alarm.Found("raft is not running: a worker that it needs is missing")
	case time.Since(since) < readGrace:
		return nil
	}
	return alarm.Found("raft is not running yet: it is still reading its snapshot and its log")
}

func (s *Set) snapshotLoop(time.Time) []alarm.Finding {
	w := running[vitals](s, RaftName)
	if w == nil || w.Stuck() == 0 {
		return nil
	}
	return alarm.Found(fmt.Sprintf("the snapshot of log index %d is installed repeatedly", w.Stuck()))
}

// workerFailing is for the workers that have no condition of their own.
func (s *Set) workerFailing(time.Time) (found []alarm.Finding) {
	told := s.names(RaftName, APIListenerName, ProjectionName)
	for _, name := range slices.Sorted(maps.Keys(s.Manifolds)) {
		if slices.Contains(told, name) {
			continue
		}
		if err := s.Starts.Down(name); err != nil {
			found = append(found, alarm.Finding{Subject: name, Text: err.Error()})
		}
	}
	return found
}
