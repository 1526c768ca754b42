package doctor

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wording"
)

// Quorum reports what an agent says of its cluster, and its alarms.
func Quorum(m *interrexv1.StatusResponse) []Finding {
	var all []Finding
	switch {
	case m.GetLeaderId() != "":
		all = append(all, ok("quorum", "%s, as %s sees it", m.GetQuorum(), m.GetId()))
	case m.GetState() == interrex.Standalone.String():
		all = append(all, ok("quorum", "%s is in no cluster", m.GetId()))
	default:
		all = append(all, found("quorum", Fail, "start the members that are silent, or fix the network to them: see 'interrex status'",
			"%s, and %s knows no leader: nothing can be written", m.GetQuorum(), m.GetId()))
	}
	for _, member := range m.GetMembers() {
		if member.GetSilent() {
			all = append(all, silent(member))
		}
	}
	for _, a := range m.GetAlarms() {
		if a.GetName() == "member-silent" {
			continue // has its line
		}
		f := interrex.Alarm{Name: a.GetName(), Subject: a.GetSubject(), Text: a.GetText()}
		all = append(all, found("alarm", Warn, a.GetDo(), "%s", f))
	}
	return all
}

func silent(m *interrexv1.MemberStatus) Finding {
	since := "has never been heard from"
	if m.GetLastContact() != nil {
		since = "has been silent for " + wording.Rounded(m.GetLastContact().AsDuration())
	}
	return found("member", Warn, "start or resume that agent, or fix the network to it", "%s %s", m.GetId(), since)
}

// Unasked is the finding when no agent was asked, because none runs or it did not
// answer.
func Unasked(runs bool, why error) Finding {
	if !runs {
		return found("quorum", Warn, "start the agent, or name one with --addr", "not asked: no agent runs with this configuration")
	}
	return found("quorum", Fail, "see the agent's log; resume its process if it is stopped, or restart it", "an agent runs here, and does not answer: %v", why)
}
