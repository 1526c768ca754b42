package rotation

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/member"
)

// cluster returns three voters, of which n1 leads, and one without a vote. All trust the
// CA "old" and have its certificates; the voters have its key.
func cluster(phase member.Phase) Cluster {
	c := Cluster{CA: "old"}
	for _, id := range []string{"n1", "n2", "n3", "n4"} {
		a := Agent{ID: id, Voter: id != "n4", Leader: id == "n1", Alive: true, Met: true, Fit: true, Trusts: []string{"old"}, Issuer: "old"}
		if a.Voter {
			a.Keys = []string{"old"}
		}
		c.Agents = append(c.Agents, a)
	}
	if phase == 0 {
		return c
	}
	c.Rotation, c.Next = &member.Rotation{Phase: phase}, "new"
	c.Agents[0].Keys = append(c.Agents[0].Keys, "new")
	if phase >= member.Renewing {
		c.CA, c.Next, c.Former = "new", "", []string{"old"}
	}
	return c
}

// each changes every agent.
func (c Cluster) each(change func(a *Agent)) Cluster {
	c.Agents = slices.Clone(c.Agents)
	for i := range c.Agents {
		change(&c.Agents[i])
	}
	return c
}

func (c Cluster) one(id string, change func(a *Agent)) Cluster {
	return c.each(func(a *Agent) {
		if a.ID == id {
			change(a)
		}
	})
}

func (c Cluster) leaving(ids ...string) Cluster {
	r := *c.Rotation
	r.Without = ids
	c.Rotation = &r
	return c
}

func trusting(a *Agent)    { a.Trusts = []string{"old", "new"} }
func handed(a *Agent)      { a.Keys = []string{"old", "new"} }
func keyless(a *Agent)     { a.Keys = nil }
func renewed(a *Agent)     { a.Issuer = "new" }
func forgetting(a *Agent)  { a.Trusts = []string{"new"} }
func silent(a *Agent)      { a.Alive, a.Silent = false, time.Minute }
func never(a *Agent)       { *a = Agent{ID: a.ID, Voter: a.Voter} }
func both(a *Agent)        { trusting(a); handed(a) }
func withoutVote(a *Agent) { a.Voter = false }

// A leader that has the key leads on, whatever its ID is: else leadership would return to
// the first voter after each fail-over, and an operator could not move it.
func TestALeaderThatHasTheKeyLeadsOn(t *testing.T) {
	for _, id := range []string{"n1", "n2", "n3"} {
		c := cluster(0).each(func(a *Agent) { a.Leader = a.ID == id })
		if s := Next(c); s.Kind != None {
			t.Errorf("%s leads: %+v", id, s)
		}
		without := c.one(id, keyless)
		if s := Next(without); s.Kind != HandOver || s.ID == id {
			t.Errorf("%s leads without the key: %+v", id, s)
		}
	}
}

func TestThePhasesOfARotation(t *testing.T) {
	for name, test := range map[string]struct {
		c       Cluster
		kind    Kind
		to      string
		waiting string
	}{
		"no CA of its own": {Cluster{}, None, "", ""},
		"no rotation":      {cluster(0), None, "", ""},
		"asked for":        {cluster(member.Asked), Offer, "", ""},

		"none trusts it":                {cluster(member.Trusting), Wait, "", "n1 n2 n3 n4"},
		"one does not trust it":         {cluster(member.Trusting).each(trusting).one("n4", forgettingNext), Wait, "", "n4"},
		"all trust it":                  {cluster(member.Trusting).each(trusting), Advance, "", ""},
		"one is off that trusted it":    {cluster(member.Trusting).each(trusting).one("n2", silent), Advance, "", ""},
		"one was never met":             {cluster(member.Trusting).each(trusting).one("n4", never), Wait, "", "n4"},
		"it is left out":                {cluster(member.Trusting).each(trusting).one("n4", never).leaving("n4"), Advance, "", ""},
		"a voter lacks the key":         {cluster(member.Handing).one("n2", handed), Wait, "", "n3"},
		"the voters have the key":       {cluster(member.Handing).one("n2", handed).one("n3", handed), Advance, "", ""},
		"a voter with it lost its vote": {cluster(member.Handing).one("n2", handed).one("n3", withoutVote), Advance, "", ""},

		"the leader lacks the key, another has it": {cluster(member.Trusting).one("n1", keyless).one("n3", handed), HandOver, "n3", ""},
		"the other is off":                         {cluster(member.Trusting).one("n1", keyless).one("n3", func(a *Agent) { handed(a); silent(a) }), Wait, "", "n3"},
		"the other may not lead":                   {cluster(member.Trusting).one("n1", keyless).one("n3", func(a *Agent) { handed(a); a.Fit = false }), Wait, "", "n3"},
		"the other is left out":                    {cluster(member.Trusting).one("n1", keyless).one("n3", func(a *Agent) { handed(a); silent(a) }).leaving("n3"), Offer, "", ""},
		"one without a vote has it":                {cluster(member.Handing).one("n1", keyless).one("n4", handed), Offer, "", ""},
		"none has it":                              {cluster(member.Handing).one("n1", keyless), Offer, "", ""},
		"one that is off may have it":              {cluster(member.Handing).one("n1", keyless).one("n2", silent), Wait, "", "n2"},
		"none has it any more":                     {cluster(member.Renewing).one("n1", keyless), Offer, "", ""},
		"another has it still":                     {cluster(member.Renewing).one("n1", keyless).one("n2", handed), HandOver, "n2", ""},

		"none is renewed":             {cluster(member.Renewing).each(both), Wait, "", "n1 n2 n3 n4"},
		"one is off":                  {cluster(member.Renewing).each(both).each(renewed).one("n4", func(a *Agent) { silent(a); a.Issuer = "old" }), Wait, "", "n4"},
		"all are renewed":             {cluster(member.Renewing).each(both).each(renewed), Advance, "", ""},
		"all trust the former":        {cluster(member.Dropping).each(both).each(renewed), Wait, "", "n1 n2 n3 n4"},
		"all forget it":               {cluster(member.Dropping).each(handed).each(forgetting), Advance, "", ""},
		"one was not met since":       {cluster(member.Dropping).each(handed).each(forgetting).one("n2", never), Wait, "", "n2"},
		"no rotation, leader keyless": {cluster(0).one("n1", keyless), HandOver, "n2", ""},
		"no rotation, all keyless":    {cluster(0).each(keyless), None, "", ""},
	} {
		s := Next(test.c)
		if waiting := strings.Join(slices.Sorted(maps.Keys(s.Waiting)), " "); s.Kind != test.kind || s.ID != test.to || waiting != test.waiting {
			t.Errorf("%s: step %d to %q, waiting for %q, not %d to %q, for %q", name, s.Kind, s.ID, waiting, test.kind, test.to, test.waiting)
		}
	}
}

func forgettingNext(a *Agent) { a.Trusts = []string{"old"} }

func TestTheReasonSaysWhetherAMemberIsOff(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Agent)
		says   string
	}{
		"on":        {forgettingNext, "n4: it does not trust the next CA yet"},
		"off":       {func(a *Agent) { forgettingNext(a); silent(a) }, "n4: it does not trust the next CA yet: nothing heard from it for 1 min"},
		"never met": {never, "n4: it does not trust the next CA yet: it has not been met"},
	} {
		s := Next(cluster(member.Trusting).each(trusting).one("n4", test.change))
		if says := Describe(s.Waiting); says != test.says {
			t.Errorf("%s: %q", name, says)
		}
	}
}

func TestALeaderThatLacksTheKeyIsNoticed(t *testing.T) {
	if _, missing := KeyMissing(cluster(0)); missing {
		t.Error("it has the key")
	}
	if voters, missing := KeyMissing(cluster(0).one("n1", keyless).one("n2", keyless).one("n4", handed)); !missing || !slices.Equal(voters, []string{"n3"}) {
		t.Errorf("lacks it: %v; it is on %v", missing, voters)
	}
	if _, missing := KeyMissing(Cluster{}); missing {
		t.Error("there is no CA")
	}
}
