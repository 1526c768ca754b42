// Package health owns what can be known of an agent by looking at what runs in
// it: what is wrong, its status, its members, its readiness and its metrics.
package health

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/backup"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/transport"
)

// View is an agent at one moment. A part that does not run is nil.
type View struct {
	At, Started time.Time // by the agent's clock
	Config      config.Config
	Leadership  interrex.Leadership
	Draining    bool
	InMemory    bool // the agent has no data directory of its own

	ID, ClusterID, Directory string // empty before the identity was read
	Joins                    string // the cluster that has issued its certificate, which it is to be let in by; empty: none, or it is in
	BoundAPI, AdvertisedAPI  string // addresses; empty: none

	// Removed is of kind interrex.ErrRemoved once the agent was removed from its cluster.
	Removed error
	// Waits says what an agent waits for that is still to get its certificate, since
	// WaitsSince; empty: it has one, or needs none.
	Waits      string
	WaitsSince time.Time

	// Forwards is whether this is an agent without raft.
	Forwards bool
	Gateway  *forward.Gateway // of an agent without raft; nil also where it does not run
	// Forwarders has what agents without raft have told this member.
	Forwarders *forward.Book

	// Why a worker that does not run ended or could not start; nil: it runs, or
	// waits for an input.
	RaftDown, APIDown, ProjectionDown error
	// RecoveryFailed is why a recovery that the backstop began has failed; nil: none has.
	RecoveryFailed error
	// Comparison is the newest comparison of the members' states; nil: there was none.
	Comparison *interrex.Comparison
	// Differs is the newest one with a difference; nil: those that took part agree.
	Differs *interrex.Comparison
	// Failing are the other workers that are down, by name.
	Failing map[string]error
	// RaftStarting is when the start of raft began that is under way; zero: none is.
	RaftStarting time.Time

	State      *machine.State
	Leases     *lease.Table
	Resources  *resource.Table
	Changes    *change.Table
	Webhooks   *webhook.Table
	Access     *access.Table
	Admitted   *member.Table
	Machine    *fsm.Table // nil also where the embedder has none
	Ring       *watch.Ring
	Queue      *queue.Queue
	Notifier   *notify.Worker
	Backup     *backup.Worker // nil also where no copies are made
	Caller     *hookcaller.Caller
	Teller     *hookcaller.Worker
	Transport  *peering.Transport
	ClusterTLS transport.TLS // nil: the agent is alone
	APITLS     *certificates.Files
	Raft       *raftworker.Worker
	Vitals     Vitals // of Raft
	Acks       Acks   // of Raft
	Observers  *watch.Observers
	Requests   *admission.Budget
	// Connections are those of callers; nil: they are not counted.
	Connections *listener.Metrics
	// InFlight is what callers have in flight; nil: it is not counted.
	InFlight *admission.InFlight
}

// Vitals are what a running raft knows of its disk and its log.
type Vitals interface {
	Disk() (d raftworker.DiskState, running bool)
	Stuck() uint64
	Quarantine() error
}

// Acks is what the transport of a running raft has noted of answers.
type Acks interface {
	reads.Acks
	// MatchIndex returns how far a peer's log matches, as the peer has said in a term.
	MatchIndex(peer raft.ServerID, term uint64) uint64
	// Committed returns the commit index that the leader of a term has announced.
	Committed(term uint64) uint64
}

// Running returns the raft that runs; nil: none does.
func (v View) Running() *raft.Raft {
	if v.Raft == nil {
		return nil
	}
	r, err := v.Raft.Raft()
	if err != nil {
		return nil
	}
	return r
}

// longCall is the longest that a call of the embedder's machine may have taken
// for the tables to be worth waiting for.
const longCall = 100 * time.Millisecond

// readable reports whether the tables can be read without a long wait: while the
// embedder's machine does not return, they cannot.
func (v View) readable() bool {
	if v.Machine == nil {
		return true
	}
	busy := v.Machine.Busy()
	if busy > 0 && busy < longCall {
		time.Sleep(longCall - busy)
		busy = v.Machine.Busy()
	}
	return busy < longCall
}

// certificates returns the certificates in use: "cluster" is the one between agents.
func (v View) certificates() map[string]transport.TLS {
	all := map[string]transport.TLS{}
	if v.ClusterTLS != nil {
		all["cluster"] = v.ClusterTLS
	}
	if v.APITLS != nil {
		all["api"] = v.APITLS
	}
	return all
}

// certificateEnds returns when each of the agent's certificates expires.
func (v View) certificateEnds() map[string]time.Time {
	ends := map[string]time.Time{}
	for which, source := range v.certificates() {
		if cert, err := source.Certificate(); err == nil && cert.Leaf != nil {
			ends[which] = cert.Leaf.NotAfter
		}
	}
	return ends
}
