package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/rotation"
)

// toldWithin is how long an agent without raft, which tells each member of itself every
// 10 s while the CA is rotated, may be silent and still count as running.
const toldWithin = 30 * time.Second

// aliveWithin is how long an agent may be silent and still be asked for something.
const aliveWithin = 5 * time.Second

// Authority returns what this agent sees of the cluster's CA and of those that use it.
func (v View) Authority() rotation.Cluster {
	if v.Admitted == nil || v.Admitted.CA() == "" {
		return rotation.Cluster{}
	}
	pin := func(der string) string { return jointoken.PinOfDER([]byte(der)).String() }
	c := rotation.Cluster{CA: pin(v.Admitted.CA()), Rotation: v.Admitted.Rotation()}
	if c.Rotation != nil {
		c.Next = pin(c.Rotation.Next)
		for _, ca := range c.Rotation.Former {
			c.Former = append(c.Former, pin(ca))
		}
	}
	all := map[string]*rotation.Agent{}
	for _, m := range v.Admitted.Members() {
		all[m.ID] = &rotation.Agent{ID: m.ID, Issuer: m.Certificate.Issuer}
		if m.Forwards {
			v.identifyForwarder(all[m.ID])
			if v.Admitted.Recertified(m) {
				all[m.ID].Issuer = c.CA
			}
		}
	}
	r := v.Running()
	if r != nil {
		for _, server := range r.GetConfiguration().Configuration().Servers {
			v.addServer(all, server)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if m := v.Admitted.Member(id); m == nil || !m.Forwards {
			v.identifyAuthority(all[id], r)
		}
		c.Agents = append(c.Agents, *all[id])
	}
	return c
}

// addServer adds an agent of raft's configuration, unless it was removed.
func (v View) addServer(all map[string]*rotation.Agent, server raft.Server) {
	id := string(server.ID)
	if all[id] == nil {
		if v.Admitted.WasRemoved(id) {
			return
		}
		all[id] = &rotation.Agent{ID: id}
	}
	all[id].Voter = server.Suffrage == raft.Voter
}

// identifyAuthority notes what an agent says of the CAs, and when.
func (v View) identifyAuthority(a *rotation.Agent, r *raft.Raft) {
	a.Leader = a.ID == v.Leadership.LeaderID || v.Leadership.Leader && a.ID == v.ID
	if v.Transport == nil {
		return
	}
	said := v.Transport.Self()
	if a.ID == v.ID {
		a.Met, a.Alive, a.Fit = true, true, true
	} else {
		said, a.Met = v.Transport.Peer(a.ID)
		heard := v.Transport.Contact(a.ID).Heard
		if r != nil {
			heard = v.LastHeard(a.ID, r)
		}
		a.Silent = v.At.Sub(heard)
		a.Alive = a.Met && a.Silent <= aliveWithin
		a.Fit = said.Log.Unfit == ""
	}
	a.Trusts, a.Keys = said.Trusts, said.CAKeys
}

// identifyForwarder notes what an agent without raft has told this member.
func (v View) identifyForwarder(a *rotation.Agent) {
	var said forward.Said
	if v.Forwarders != nil {
		said, a.Met = v.Forwarders.Said(a.ID)
	}
	a.Trusts, a.Silent = said.Trusts, v.At.Sub(said.At)
	a.Alive = a.Met && a.Silent <= toldWithin
}

// RotationWaiting returns the members that the rotation of the CA waits for, as this
// agent sees it, with the reason.
func (h *Health) RotationWaiting() map[string]string {
	return rotation.Next(h.look().Authority()).Waiting
}

// caRotationHeld is for the members that hold up a rotation of the CA.
func (v View) caRotationHeld() (found []alarm.Finding) {
	c := v.Authority()
	if c.Rotation == nil {
		return nil
	}
	waiting := rotation.Next(c).Waiting
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		found = append(found, alarm.Finding{Subject: id, Text: fmt.Sprintf("the rotation of the CA waits for it in phase %s: %s", c.Rotation.Phase, waiting[id])})
	}
	return found
}

// caKeyMissing is for a leader that cannot issue certificates.
func (v View) caKeyMissing() []alarm.Finding {
	if !v.Leadership.Leader {
		return nil
	}
	voters, missing := rotation.KeyMissing(v.Authority())
	if !missing {
		return nil
	}
	known := "no voter that was met has it"
	if len(voters) > 0 {
		known = "it is on " + strings.Join(voters, ", ") + ", to which leadership is handed over once it responds"
	}
	return alarm.Found("this agent leads, and does not have the key of the cluster's CA: " + known)
}
