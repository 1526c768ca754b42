package featuretests

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// alarms waits until member i has raised alarms of these names and no others.
func (f *fleet) alarms(i int, names ...string) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%s has the alarms %q", f.id(i), names), func() error {
		s, err := f.status(i)
		if err != nil {
			return err
		}
		var raised []string
		for _, a := range s.GetAlarms() {
			raised = append(raised, a.GetName())
		}
		if !slices.Equal(raised, names) {
			return fmt.Errorf("it has %q", raised)
		}
		return nil
	})
}

// says runs a command of the binary against member i, and returns its output and
// exit code.
func (f *fleet) says(i int, args ...string) (string, int) {
	f.t.Helper()
	cmd, out := f.run(i, args...)
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestTheFirstScreenSaysWhatIsWrong(t *testing.T) {
	f := newFleet(t, 3, nil)
	if text, code := f.says(0, "status", "--all"); code != 0 || strings.Contains(text, "ALARM ") {
		t.Errorf("when all is well: exit code %d, %s", code, text)
	}
	dead := f.others(f.leader())[0]
	rest := f.others(dead)
	f.kill(dead)
	for _, i := range rest {
		f.alarms(i, "member-silent")
		text, code := f.says(i, "status")
		for _, want := range []string{
			`3 voters, 2 responding, tolerates no failure`, `member ` + f.id(dead) + ` +voter, NOT CONNECTED for \S+ \S+: its port refuses connections`,
			`ALARM member-silent +` + f.id(dead) + ` for \S+ \S+: \S+ refuses connections`, `to do +start or resume that agent`,
		} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s does not say %q:\n%s", f.id(i), want, text)
			}
		}
		if code != 1 {
			t.Errorf("%s: exit code %d, want 1", f.id(i), code)
		}
	}
	text, code := f.says(rest[0], "status", "--all")
	for _, i := range rest {
		if want := f.id(i) + " +(leader|follower), ready .* 1\n"; !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("status --all does not say %q:\n%s", want, text)
		}
	}
	if code != 1 || !regexp.MustCompile(f.id(dead)+" +no response").MatchString(text) {
		t.Errorf("status --all: exit code %d\n%s", code, text)
	}
	if text, _ := f.says(rest[0], "status", "--all", "-o", "json"); strings.Count(text, `"cluster_id"`) != 2 || strings.Count(text, `"error"`) != 1 {
		t.Errorf("as JSON: %s", text)
	}
	for path, want := range map[string]string{
		"/metrics": `interrex_alarm{name="member-silent"} 1`, "/readyz?verbose": "[!] alarm member-silent " + f.id(dead),
	} {
		if text := fetch(t, http.DefaultClient, "http://"+f.members[rest[0]].config.API.Listen+path); !strings.Contains(text, want) {
			t.Errorf("%s does not say %s:\n%s", path, want, text)
		}
	}
	for output, want := range map[string]string{"text": "ALARM member-silent " + f.id(dead) + " ", "json": `"member-silent ` + f.id(dead) + `"`} {
		if text, _ := f.says(rest[0], "agent", "report", "-o", output); !strings.Contains(text, want) {
			t.Errorf("the report as %s does not name the alarm: %s", output, text)
		}
	}
	f.kill(rest[1])
	f.alarms(rest[0], "member-silent", "member-silent", "quorum-lost")
	f.start(rest[1])
	f.start(dead)
	for i := range f.members {
		f.alarms(i)
	}
	if _, code := f.says(rest[0], "status"); code != 0 {
		t.Errorf("when all is well again: exit code %d", code)
	}
}
