package admission

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/silent"
)

// lines keeps what is logged at INFO.
type lines struct {
	interrex.Logger
	all []string
}

func (l *lines) Infof(format string, args ...any) {
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

// A flood of requests without a token does not hide what callers with one do.
func TestStrangersDoNotHideOthersFromTheAudit(t *testing.T) {
	to, now := &lines{Logger: silent.Logger{}}, testclock.NewClock(time.Unix(1000, 0))
	a := NewAudit(to, now)
	for range 2 * auditBurst {
		a.refused(Caller{}, "/changes", interrex.Errorf(interrex.ErrUnauthenticated, "who?"))
	}
	a.Judged(Caller{Operator: true, Door: Socket}, "/Create", "", true, nil)
	if n := len(to.all); n != auditBurst+1 || !strings.Contains(to.all[n-1], `"door":"socket"`) {
		t.Errorf("%d lines, the last one %s", n, to.all[n-1])
	}
}

func TestTheAuditIsLimited(t *testing.T) {
	to, now := &lines{Logger: silent.Logger{}}, testclock.NewClock(time.Unix(1000, 0))
	a := NewAudit(to, now)
	denied := interrex.Errorf(interrex.ErrDenied, "no")
	for range 150 {
		a.Judged(Caller{Name: "ann"}, "/Claim", "a/b", false, denied)
	}
	if len(to.all) != auditBurst {
		t.Errorf("%d lines are logged", len(to.all))
	}
	a.refused(Caller{}, "/"+strings.Repeat("a", 1000), interrex.Errorf(interrex.ErrUnauthenticated, "who?"))
	if len(to.all) != auditBurst+1 || len(to.all[auditBurst]) > 400 {
		t.Errorf("a stranger has %d bytes in line %d", len(to.all[len(to.all)-1]), len(to.all))
	}
	now.Advance(time.Second)
	a.Judged(Caller{Name: "op", Operator: true}, "/Create", "", true, nil)
	a.Judged(Caller{Name: "op", Operator: true}, "/Claim", "", false, nil)                   // no operator's act
	a.Judged(Caller{Name: "ann", Door: Peer}, "/Claim", "", false, denied)                   // logged where it came from
	a.Judged(Caller{Operator: true, Door: Inside}, "/Claim", "", true, nil)                  // the agent itself
	a.Judged(Caller{Name: "ann"}, "/Claim", "", true, interrex.Errorf(interrex.ErrHeld, "")) // no refusal of rights
	var line auditLine
	if err := json.Unmarshal([]byte(to.all[len(to.all)-1]), &line); err != nil || len(to.all) != auditBurst+2 || line.Dropped != 50 || line.Result != "allowed" || line.Caller != "op" {
		t.Errorf("%d lines, the last one %+v, %v", len(to.all), line, err)
	}
	before := len(to.all)
	now.Advance(time.Second)
	for range 3 * auditRate {
		a.Judged(Caller{Name: "ann"}, "/Claim", "a/b", false, denied)
	}
	if n := len(to.all) - before; n != 2*auditRate-1 { // what was left, and another second's
		t.Errorf("%d more lines are logged", n)
	}
	line = auditLine{}
	want := auditLine{Caller: "ann", Door: "api", Call: "/Claim", Key: "a/b", Result: "denied", Reason: "denied: no"}
	if err := json.Unmarshal([]byte(to.all[len(to.all)-1]), &line); err != nil || line != want {
		t.Errorf("a refusal is logged as %+v, want %+v, %v", line, want, err)
	}
}

// Whatever a caller sends, a line has a limit.
func TestALineOfTheAuditIsShort(t *testing.T) {
	to := &lines{Logger: silent.Logger{}}
	a := NewAudit(to, testclock.NewClock(time.Unix(1000, 0)))
	long := strings.Repeat("\x00", 1<<20)
	a.Judged(Caller{Name: "ann"}, "/List", long, false, interrex.Errorf(interrex.ErrDenied, "%s", long))
	a.refused(Caller{}, long, interrex.Errorf(interrex.ErrUnauthenticated, "%s", long))
	for _, line := range to.all {
		if len(line) > 2*auditText+auditPath+200 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	if len(to.all) != 2 {
		t.Errorf("%d lines", len(to.all))
	}
}

func TestTheAuditSaysWhereARequestCameFrom(t *testing.T) {
	to := &lines{Logger: silent.Logger{}}
	g := &Guard{Tokens: known{grants: map[string]*accesstoken.Grant{"op": {Name: "op", Operator: true}}}, Silence: hears.of, Audit: NewAudit(to, testclock.NewClock(time.Unix(1000, 0)))}
	acts := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		g.Audit.Judged(CallerOf(r.Context()), "/Create", "", true, nil)
	})
	for d, want := range map[Door]string{Public: "192.0.2.1:1234", Forwarded: "192.0.2.1:1234", Socket: "socket"} {
		for token, result := range map[string]string{"op": "allowed", "no": "unauthenticated"} {
			r := httptest.NewRequest("POST", "/Create", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			g.Admit(d, func(string) bool { return false }, acts).ServeHTTP(httptest.NewRecorder(), r)
			var line auditLine
			if err := json.Unmarshal([]byte(to.all[len(to.all)-1]), &line); err != nil || line.Remote != want || d != Socket && line.Result != result {
				t.Errorf("door %d, %s: %+v, %v", d, token, line, err)
			}
		}
	}
	r := httptest.NewRequest("POST", "/Create", nil)
	r.Header.Set("Origin", "https://elsewhere.example")
	Enter(g.Audit, acts).ServeHTTP(httptest.NewRecorder(), r)
	if last := to.all[len(to.all)-1]; !strings.Contains(last, `"remote":"192.0.2.1:1234"`) || !strings.Contains(last, "Origin") {
		t.Errorf("of another site's page: %s", last)
	}
}
