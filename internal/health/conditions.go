package health

import (
	"time"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/peering"
)

// How long something may be wrong before it is an alarm: an election, a worker's
// start and a peer's restart pass by themselves.
const (
	electionGrace = 5 * time.Second
	restartGrace  = 2 * time.Second
	refusalGrace  = 2 * time.Second
	behindGrace   = 30 * time.Second
	rotationGrace = 10 * time.Second // members that respond take a few seconds for a phase
	keyGrace      = 15 * time.Second // leadership is being handed over
	readGrace     = time.Minute      // a large snapshot is being read
)

// settled is how long something that is retried has to go well before its alarm
// ends: the engine waits up to that long before the next start.
const settled = 15 * time.Second

// Where an alarm begins.
const (
	silentAfter       = peering.ProbeTime + time.Second
	hungAfter         = 2 * time.Second // raft's log gives up a write after 5 s
	certificateNotice = 30 * 24 * time.Hour
	nearLimit         = 0.8
)

// diskLowAlarm is the alarm with which this agent asks another member to lead.
const diskLowAlarm = "disk-low"

// conditions are everything that can be wrong.
func (h *Health) conditions() []alarm.Condition {
	return []alarm.Condition{
		{Name: "access-stale", Look: h.accessStale, After: electionGrace,
			Do: "start the silent agents, or fix the network to them: this agent accepts tokens again once it hears the leader; its socket needs none, and the other side of a cut accepts them"},
		{Name: "api-down", Look: h.on(View.apiDown), After: restartGrace,
			Do: "free the address or fix the files that the text names; the agent retries automatically"},
		{Name: "api-open", Look: h.on(View.apiOpen), After: restartGrace,
			Do: "create an access token with 'interrex token create --operator', set api.tls.client-ca, take api.open out, or listen on 127.0.0.1: everyone who can reach this port may do everything"},
		{Name: "backup-late", Look: h.on(View.backupLate),
			Do: "fix what the text names: the directory of backup.to, its disk, or the agent; it tries again by itself, at least every 10 minutes"},
		{Name: "bootstrap-waiting", Look: h.on(View.bootstrapWaiting), After: electionGrace,
			Do: "start the missing agents, with this one's address or theirs in cluster.join, and the same cluster.bootstrap-expect"},
		{Name: "ca-key-missing", Look: h.on(View.caKeyMissing), After: keyGrace,
			Do: "start a voter that has the CA's key: leadership goes there by itself; if the key is lost, 'interrex ca rotate' makes another CA, for which the lost key is not needed"},
		{Name: "ca-rotation-held", Look: h.on(View.caRotationHeld), After: rotationGrace,
			Do: "start that agent, or leave it out: 'interrex ca rotate --without ID'; it comes back with 'interrex agent join', and with --forward if it runs without raft"},
		{Name: "certificate-ending", Look: h.on(View.certificateEnding),
			Do: "with the cluster's own CA see this agent's log: it renews its certificate by itself, or, if it has ended, 'interrex agent join' with a token of 'interrex join-token create --for ID' brings it back, with --forward if it runs without raft; else issue a new certificate and replace the files: they are read again without a restart"},
		{Name: "certificate-unusable", Look: h.on(View.certificateUnusable), After: restartGrace,
			Do: "fix the files: the previous ones stay in use until then, but the next start would fail"},
		{Name: "disk-failed", Look: h.on(View.diskFailed), Keep: settled,
			Do: "check the system's log; the agent reopens its log automatically when the disk works; if files of the log are damaged or gone, restore a copy made after the agent's last stop"},
		{Name: "disk-full", Look: h.lookForRoom, Keep: settled,
			Do: "free space in the data directory's file system; the agent continues automatically"},
		{Name: "disk-hung", Look: h.on(View.diskHung), Keep: settled,
			Do: "check the system's log and the storage: a write to the log has not returned"},
		{Name: diskLowAlarm, Look: h.on(View.diskLow),
			Do: "free space in the data directory's file system before raft's log runs out"},
		{Name: "disk-slow", Look: h.on(View.diskSlow),
			Do: "put the data directory on a faster disk, or on one of its own: each write waits for it"},
		{Name: "forward-down", Look: h.on(View.forwardDown), After: electionGrace,
			Do: "start a member at one of the addresses of cluster.join, or fix the network to it; where it refuses this agent, fix the reason that it gives; the agent goes on trying by itself"},
		{Name: "fsm-hung", Look: h.on(View.fsmHung),
			Do: "fix the program's state machine, whose methods must return, and restart this agent: until the call returns nothing is applied here, leases included"},
		{Name: "fsm-snapshot-failed", Look: h.on(View.fsmSnapshotFailed),
			Do: "fix the program's state machine: until a snapshot succeeds raft's log grows, but nothing is lost"},
		{Name: "fsm-stopped", Look: h.on(View.fsmStopped),
			Do: "restart this agent with a fixed state machine: it is restored from snapshot and log; leases are not affected; until then this agent makes no snapshots, and its log grows"},
		{Name: "halted", Look: h.on(View.halted),
			Do: "run the version that the others run; if this agent's disk is the cause, restore a copy of its directory made after its last stop, or its disk counts as lost"},
		{Name: "join-waiting", Look: h.on(View.joinWaiting), After: electionGrace,
			Do: "make sure that a member runs at one of the addresses, and that the join token is valid ('interrex join-token list' there; a new one may replace the file at any time); an agent with a certificate from elsewhere has to be let in as a member first; the agent goes on trying by itself"},
		{Name: "log-lost", Look: h.logLost, After: time.Minute, Keep: settled,
			Do: "start the missing members; if none of them has more, recover from the member with the longest log: see 'interrex agent repair --help'"},
		{Name: "limit-near", Look: h.on(View.limitNear),
			Do: "find the clients that use so much, delete what is not needed, or raise the limit if it is a setting, with 'interrex settings set': beyond it what adds is refused, and everything else goes on"},
		{Name: "member-silent", Look: h.on(View.memberSilent), Unknown: h.betweenLives,
			Do: "start or resume that agent, or fix the network to it"},
		{Name: "peer-refused", Look: h.on(View.peerRefused), After: refusalGrace, Keep: settled,
			Do: "fix that agent or this one, as the text says: its directory, certificate, CA or version"},
		{Name: "projection-behind", Look: h.on(View.projectionBehind), After: behindGrace,
			Do: "put the database of lease holders on a faster disk, or give this agent more CPU; leases are not affected"},
		{Name: "projection-failing", Look: h.on(View.projectionFailing), After: electionGrace,
			Do: "fix the database of lease holders; it is refilled automatically; one of another cluster or epoch is left untouched: configure a separate one for this cluster; leases are not affected"},
		{Name: "quarantine", Look: h.on(View.inQuarantine), Unknown: h.betweenLives,
			Do: "start the missing members: they send this agent what it lacks; if its disk is an older copy, restore the newest one, or its disk counts as lost"},
		{Name: "quorum-lost", Look: h.on(View.quorumLost), After: electionGrace, Unknown: h.betweenLives,
			Do: "start the silent agents, or fix the network to them; where one agent rejects another, fix the reason that it gives; nothing can be written through this agent until then; if a majority is lost for good, see 'interrex recover plan --help'"},
		{Name: "raft-down", Look: h.on(View.raftDown), After: restartGrace, Keep: settled,
			Do: "see the log of this agent; it retries automatically; if its directory is damaged, stop the agent, keep a copy of the directory, and run 'interrex agent repair'"},
		{Name: "recovery-failed", Look: h.on(View.recoveryFailed),
			Do: "stop this agent, and see 'interrex recover plan --help': the newest before-recovery directory in its data directory has the files from before"},
		{Name: "refused", Look: h.on(View.refused), After: refusalGrace, Keep: settled,
			Do: "fix this agent as the peer's reason says: its directory, certificate, CA or version; an empty directory cannot replace a member's"},
		{Name: "removed", Look: h.on(View.removed),
			Do: "stop this agent; if its machine is to be a member again, run 'interrex agent join' there with a join token, which sets its data aside, or give it an empty data directory"},
		{Name: "snapshot-loop", Look: h.on(View.snapshotLoop),
			Do: "if it persists, restart this agent, then the leader"},
		{Name: "state-differs", Look: h.on(View.stateDiffers),
			Do: "test the memory of the machine that is named as wrong; its agent fills its state anew by itself, and 'interrex state compare' ends this alarm when all agree again; if no majority says which one is wrong, compare what matters to you at each agent with --eventual, then remove the wrong one, and join it anew"},
		{Name: "webhook-failing", Look: h.on(View.webhookFailing),
			Do: "fix the service that the webhook calls, and try 'interrex webhook test NAME'; or delete the webhook"},
		{Name: "webhook-skipped", Look: h.on(View.webhookSkipped),
			Do: "bring the service that the webhook calls up to date by hand: these events are not sent again; the alarm ends after an hour, or when the webhook is set again"},
		{Name: "worker-failing", Look: h.on(View.workerFailing), After: restartGrace, Keep: settled,
			Do: "see 'interrex agent report'; the worker is restarted automatically"},
	}
}
