package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// fakeAgent is an agent that returns the status that it is given.
type fakeAgent struct {
	interrexv1.UnimplementedEngineServiceHandler
	status *interrexv1.StatusResponse
}

func (t *fakeAgent) Status(context.Context, *connect.Request[interrexv1.StatusRequest]) (*connect.Response[interrexv1.StatusResponse], error) {
	return connect.NewResponse(t.status), nil
}

// tells starts such an agent, and returns it and its API address.
func newFakeAgent(t *testing.T, id string) (*fakeAgent, string) {
	t.Helper()
	a := &fakeAgent{status: &interrexv1.StatusResponse{Id: id, ClusterId: "mine", State: "follower", Ready: true}}
	mux := http.NewServeMux()
	mux.Handle(interrexv1.NewEngineServiceHandler(a))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return a, server.Listener.Addr().String()
}

// runStatus runs status, and returns what it prints and its exit code.
func runStatus(t *testing.T, args ...string) (string, int) {
	t.Helper()
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "INTERREX_") {
			t.Setenv(name, "") // so that it is there again after the test
			os.Unsetenv(name)
		}
	}
	var out bytes.Buffer
	root := newRoot(&out, &out)
	root.SetArgs(append([]string{"status"}, args...))
	err := root.ExecuteContext(t.Context())
	if err == nil {
		return out.String(), 0
	}
	code, _ := exitCode(err)
	return out.String(), code
}

func TestStatusOfAllTellsWhoAnswersForWhom(t *testing.T) {
	first, at := newFakeAgent(t, "n1")
	second, two := newFakeAgent(t, "n2")
	other, stranger := newFakeAgent(t, "n3")
	other.status.ClusterId = "another"
	first.status.Members = []*interrexv1.MemberStatus{{Id: "n1", ApiAddress: at}, {Id: "n2", ApiAddress: two}}
	second.status.ClusterId = "" // it has not read of it yet
	if text, code := runStatus(t, "--all", "--addr", at); code != 0 || strings.Count(text, "follower") != 2 {
		t.Errorf("when all is well: exit code %d\n%s", code, text)
	}
	for what, c := range map[string]struct {
		member *interrexv1.MemberStatus
		says   string
	}{
		"the asked agent itself answers": {&interrexv1.MemberStatus{Id: "n2", ApiAddress: at}, "agent n1 of cluster mine responds at "},
		"another cluster answers":        {&interrexv1.MemberStatus{Id: "n3", ApiAddress: stranger}, "agent n3 of cluster another responds"},
		"no address is known":            {&interrexv1.MemberStatus{Id: "n2"}, "it announces no API address"},
		"nobody answers":                 {&interrexv1.MemberStatus{Id: "n2", ApiAddress: "127.0.0.1:1"}, "connection refused"},
	} {
		first.status.Members = []*interrexv1.MemberStatus{{Id: "n1", ApiAddress: at}, c.member}
		if text, code := runStatus(t, "--all", "--addr", at); code != 1 || !strings.Contains(text, c.says) || !strings.Contains(text, c.member.GetId()+"     no response") {
			t.Errorf("%s: exit code %d\n%s", what, code, text)
		}
	}
}

func TestStatusSaysWhereTheStateStands(t *testing.T) {
	agent, at := newFakeAgent(t, "n1")
	for want, is := range map[string]*interrexv1.StatusResponse{
		`revision +7 at log index 9\n`:                        {Revision: 7, AppliedIndex: 9, CommitIndex: 12},
		`revision +7 at log index 9, 91 entries behind\n`:     {Revision: 7, AppliedIndex: 9, CommitIndex: 100},
		`revision +none yet: the log is applied once a leade`: {ClusterId: "mine"},
		`revision +0 at log index 0\n`:                        {},
	} {
		agent.status = is
		if text, _ := runStatus(t, "--addr", at); !matches(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

func TestStatusShowsEachAlarmWithWhatToDo(t *testing.T) {
	agent, at := newFakeAgent(t, "n1")
	agent.status.Alarms = []*interrexv1.Alarm{{Name: "disk-full", Text: "no room", Do: "free it"}, {Name: "member-silent", Subject: "n2", Text: "gone", Do: "start it"}}
	agent.status.Members = []*interrexv1.MemberStatus{{Id: "n2", Suffrage: "voter", Silent: true}}
	text, code := runStatus(t, "--addr", at)
	for _, want := range []string{
		`ALARM disk-full +for .*: no room\n`, `to do +free it\n`, `ALARM member-silent +n2 for .*: gone\n`, `member n2 +voter, SILENT, never heard from\n`,
	} {
		if !matches(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if code != 1 || strings.Contains(text, "none\n") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

func TestStatusFailsWhileAnAgentIsNotReady(t *testing.T) {
	first, at := newFakeAgent(t, "n1")
	second, two := newFakeAgent(t, "n2")
	first.status.Members = []*interrexv1.MemberStatus{{Id: "n1", ApiAddress: at}, {Id: "n2", ApiAddress: two}}
	second.status.Ready = false
	for want, args := range map[string][]string{
		"0 n1, follower, ready":     {"--addr", at},
		"1 n2, follower, not ready": {"--addr", two},
		"1 n2 +follower, not ready": {"--all", "--addr", at},
	} {
		if text, code := runStatus(t, args...); !matches(text, want[2:]) || fmt.Sprint(code) != want[:1] {
			t.Errorf("%v: exit code %d, want %s in\n%s", args, code, want, text)
		}
	}
}

func matches(text, pattern string) bool { return regexp.MustCompile(pattern).MatchString(text) }

func TestAMembersLineSaysWhenItIsSilent(t *testing.T) {
	ago := durationpb.New(7 * time.Second)
	for want, m := range map[string]*interrexv1.MemberStatus{
		"voter, leader":                   {Suffrage: "voter", Leader: true},
		"voter":                           {Suffrage: "voter"},
		"voter, heard 7 s ago":            {Suffrage: "voter", LastContact: ago},
		"voter, SILENT for 7 s":           {Suffrage: "voter", LastContact: ago, Silent: true},
		"voter, SILENT, never heard from": {Suffrage: "voter", Silent: true},
		"voter, NOT CONNECTED for 7 s: it refuses us: old disk": {Suffrage: "voter", LastContact: ago, Silent: true, Refusal: "it refuses us: old disk"},
		"nonvoter, leader, heard 7 s ago":                       {Suffrage: "nonvoter", Leader: true, LastContact: ago},
	} {
		if got := memberLine(m); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStatusSaysWhatTheLogHas(t *testing.T) {
	agent, at := newFakeAgent(t, "n1")
	match := func(index uint64) *uint64 { return &index }
	for want, is := range map[string]*interrexv1.StatusResponse{
		`log +empty\n`: {State: "waiting"},
		`log +unknown while raft is not running\n`:                                        {State: "stopped"},
		`log +entries 3 to 90 of term 4, committed up to 88, membership stable\n`:         {FirstIndex: 3, LastIndex: 90, LastTerm: 4, CommitIndex: 88, Membership: "stable"},
		`log +a snapshot up to entry 90 of term 4, committed up to 90, membership stable`: {LastIndex: 90, LastTerm: 4, CommitIndex: 90, Membership: "stable"},
		`member n2 +voter at n2:1, up to date\n`:                                          {LastIndex: 90, Members: []*interrexv1.MemberStatus{{Id: "n2", Address: "n2:1", Suffrage: "voter", MatchIndex: match(80)}}},
		`member n2 +voter, 80 entries behind\n`:                                           {LastIndex: 90, Members: []*interrexv1.MemberStatus{{Id: "n2", Suffrage: "voter", MatchIndex: match(10)}}},
		`member n2 +voter, its log is not known yet\n`:                                    {LastIndex: 90, Members: []*interrexv1.MemberStatus{{Id: "n2", Suffrage: "voter", MatchIndex: match(0)}}},
		`member n2 +voter\n`:         {LastIndex: 90, Members: []*interrexv1.MemberStatus{{Id: "n2", Suffrage: "voter"}}},
		`member n1 +voter, leader\n`: {LastIndex: 90, Members: []*interrexv1.MemberStatus{{Id: "n1", Suffrage: "voter", Leader: true, MatchIndex: match(90)}}},
	} {
		agent.status = is
		if text, _ := runStatus(t, "--addr", at); !matches(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

func TestAnUnknownCASaysWhichVariableNamesIt(t *testing.T) {
	agent := httptest.NewUnstartedServer(http.NotFoundHandler())
	agent.Config.ErrorLog = log.New(io.Discard, "", 0)
	agent.EnableHTTP2 = true
	agent.StartTLS()
	t.Cleanup(agent.Close)
	r := start(t, agent.URL, "status")
	r.says("its certificate is signed by a CA that is not known here: set INTERREX_CACERT to the PEM file of that CA")
	r.want(interrex.ErrUnavailable.Exit())
}
