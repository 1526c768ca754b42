package featuretests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
)

// Three agents are replaced one by one by a later build, under load, two of them after they
// have gone back; then one goes too far back, and in the end all.
func TestAClusterIsUpgradedAndGoesBackUnderLoad(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) {
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 1, time.Second
	})
	w := startWork(t, f)
	for i, m := range f.members {
		f.hasSnapshot(i)
		m.config.Raft.SnapshotThreshold = 1 << 20 // of the builds that follow
		f.write(m)
	}
	order := f.followersFirst()
	for _, i := range order[:2] { // up, but for the last
		f.runs(i, laterBinary)
		f.refusesTheLaterCommand(order[2])
	}
	for _, i := range order[:2] { // and back
		f.goesBack(i)
	}
	for _, i := range order {
		f.runs(i, laterBinary)
	}
	pinned := f.acceptsTheLaterCommand()
	w.goesOn()
	f.cannotGoBackFromEntries(order[0])
	w.goesOn()
	f.cannotGoBackFromASnapshot(order[1])
	w.check()
	f.comesBackFromBehindThePoint()
	if l, _, err := f.client().Leases().Get(t.Context(), pinned.Key, interrex.ReadOptions{}); err != nil || len(l.Pins) != 1 {
		t.Errorf("what the later command did is %+v (%v)", l, err)
	}
}

// followersFirst returns the members in the order in which they are upgraded.
func (f *fleet) followersFirst() []int {
	f.t.Helper()
	leader := f.leader()
	return append(f.others(leader), leader)
}

// stops stops member i as a service manager does.
func (f *fleet) stops(i int) {
	f.t.Helper()
	f.signal(i, syscall.SIGTERM)
	if code := f.exit(i); code != 0 {
		f.t.Fatalf("%s ends with exit code %d", f.id(i), code)
	}
}

// runs replaces the build of member i, and waits until it is ready.
func (f *fleet) runs(i int, build func() (string, error)) {
	f.t.Helper()
	f.stops(i)
	f.members[i].binary = build
	f.start(i)
	f.answers(i)
}

// goesBack replaces the build of member i by the former one, which can read all that the
// later one has left.
func (f *fleet) goesBack(i int) {
	f.t.Helper()
	f.stops(i)
	if out := f.must("agent", "repair", "--data-dir", f.data(i), "-o", "name"); strings.TrimSpace(out) != "sound" {
		f.t.Errorf("'agent repair' of the former build: %s", out)
	}
	f.members[i].binary = nil
	f.start(i)
	f.answers(i)
}

func (f *fleet) pin(holder string) (interrex.Lease, error) {
	f.t.Helper()
	leases, ctx := f.client().Leases(), f.t.Context()
	won, err := leases.Claim(ctx, interrex.ClaimRequest{Key: key("later/" + holder), Holder: holder, TTL: time.Hour})
	if err != nil {
		f.t.Fatal(err)
	}
	_, err = leases.Pin(ctx, interrex.PinRequest{Key: won.Lease.Key, Owner: "ops"})
	return won.Lease, err
}

// refusesTheLaterCommand makes a leader of the later build, which proposes neither a
// command of a table nor one of the state itself that the member behind does not know.
func (f *fleet) refusesTheLaterCommand(behind int) {
	f.t.Helper()
	for i, m := range f.members {
		if m.binary != nil && f.leader() != i {
			f.leads(i)
		}
	}
	_, err := f.pin(fmt.Sprint("early", time.Now().UnixNano()))
	if !errors.Is(err, interrex.ErrConflict) || !strings.Contains(err.Error(), "cannot apply this yet") || !strings.Contains(err.Error(), "bring that agent up to date, or remove it") {
		f.t.Errorf("the later command returns %v while %s is behind", err, f.id(behind))
	}
	status, answer := f.asker(behind).ask(ask("Maintenance/Stage", `{"file":"7","offset":"0","data":"AA=="}`))
	if status != http.StatusConflict || !strings.Contains(string(answer), fmt.Sprintf("it reads log entries of version %d, and this needs version %d: bring that agent up to date, or remove it", machine.EntryVersion, laterEntries)) {
		f.t.Errorf("a part of a file is answered %d while %s is behind: %s", status, f.id(behind), answer)
	}
}

// leads makes member i the leader.
func (f *fleet) leads(i int) {
	f.t.Helper()
	eventually(f.t, f.id(i)+" leads", func() error {
		if _, err := f.command("member", "transfer-leader", f.id(i), "--addr", f.socket(i)); err != nil && f.leader() != i {
			return err
		}
		if f.leader() != i {
			return errors.New("it does not")
		}
		return nil
	})
}

// acceptsTheLaterCommand waits until the leader knows that all members know the later
// command, and returns what it was done to.
func (f *fleet) acceptsTheLaterCommand() (l interrex.Lease) {
	f.t.Helper()
	eventually(f.t, "the later command is accepted", func() (err error) {
		l, err = f.pin(fmt.Sprint("all", time.Now().UnixNano()))
		return err
	})
	return l
}

// cannotGoBackFromEntries starts the former build where the log has entries of the later
// one: it stops at them, in words, while the others go on.
func (f *fleet) cannotGoBackFromEntries(i int) {
	f.t.Helper()
	f.stops(i)
	unknown := fmt.Sprint("unknown version ", laterEntries)
	f.foretells(i, unknown)
	f.members[i].binary = nil
	f.start(i)
	f.alarms(i, "halted")
	text, _ := f.says(i, "status")
	for _, want := range []string{fmt.Sprintf("%s; this build knows %d to %d", unknown, machine.OldestEntry, machine.EntryVersion), "run a build that can apply it"} {
		if !strings.Contains(text, want) {
			f.t.Errorf("the status has no %q: %s", want, text)
		}
	}
	f.leader(f.others(i)...)
	f.runs(i, laterBinary)
	f.alarms(i)
}

// cannotGoBackFromASnapshot starts the former build where the later one has made a
// snapshot: raft does not start, and the alarm says which build to run.
func (f *fleet) cannotGoBackFromASnapshot(i int) {
	f.t.Helper()
	f.stops(i)
	f.members[i].config.Raft.SnapshotThreshold = 1
	f.write(f.members[i])
	former := f.snapshots(i)
	f.start(i)
	f.answers(i)
	eventually(f.t, f.id(i)+" has made a snapshot", func() error {
		if slices.Equal(f.snapshots(i), former) {
			return fmt.Errorf("it has %q", former)
		}
		return nil
	})
	f.stops(i)
	f.foretells(i, otherLeases())
	f.cannotReadACopyOf(f.others(i)[0])
	f.members[i].binary = nil
	f.start(i)
	f.alarms(i, "raft-down")
	text, _ := f.says(i, "status")
	if want := otherLeases() + ": run the interrex that wrote it"; !strings.Contains(text, want) {
		f.t.Errorf("the status has no %q: %s", want, text)
	}
	f.runs(i, laterBinary)
	f.alarms(i)
}

// otherLeases says how a table of the later build differs.
func otherLeases() string {
	return fmt.Sprintf(`"leases" in version %d there, and "leases" in version %d here`, laterLeases, laterLeases-1)
}

// comesBackFromBehindThePoint starts the former build on all members at once, which grant
// nothing, and the later one again.
func (f *fleet) comesBackFromBehindThePoint() {
	f.t.Helper()
	all := func(build func() (string, error)) {
		for i, m := range f.members {
			f.stops(i)
			m.binary = build
		}
		for i := range f.members {
			f.start(i)
		}
	}
	all(nil)
	eventually(f.t, "a member has stopped at the entry", func() error {
		for i := range f.members {
			s, err := f.status(i)
			if err == nil && slices.ContainsFunc(s.GetAlarms(), func(a *interrexv1.Alarm) bool { return a.GetName() == "halted" }) {
				return nil
			}
		}
		return errors.New("none has the alarm")
	})
	ctx, cancel := context.WithTimeout(f.t.Context(), 3*time.Second)
	defer cancel()
	if won, err := f.client().Leases().Claim(ctx, interrex.ClaimRequest{Key: key("later/none"), Holder: "ann"}); err == nil {
		f.t.Errorf("the former build grants %+v", won.Lease)
	}
	all(laterBinary)
	for i := range f.members {
		f.answers(i)
	}
}

// snapshots lists the complete snapshots of raft of member i.
func (f *fleet) snapshots(i int) []string {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(f.data(i), "raft", "snapshots", "*", "check"))
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

// hasSnapshot waits until member i has a snapshot.
func (f *fleet) hasSnapshot(i int) {
	f.t.Helper()
	eventually(f.t, f.id(i)+" has a snapshot", func() error {
		if len(f.snapshots(i)) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

// cannotReadACopyOf saves a copy at member i, which runs the later build.
func (f *fleet) cannotReadACopyOf(i int) {
	f.t.Helper()
	f.save(i, "later.snap")
	out, err := f.command("snapshot", "inspect", filepath.Join(f.dir, "later.snap"))
	if err == nil || !strings.Contains(out, otherLeases()) {
		f.t.Errorf("the former build reads a copy of the later one: %v, %s", err, out)
	}
}

// foretells checks what the former build says of the directory of member i, which is
// stopped.
func (f *fleet) foretells(i int, want string) {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, args := range [][]string{{"--data-dir", f.data(i)}, {"--data-dir", f.data(i), "--apply"}} {
		out, err := exec.Command(path, append([]string{"agent", "repair"}, args...)...).CombinedOutput()
		applied := len(args) > 2
		if applied != (err != nil) || !strings.Contains(string(out), want) || !applied && !strings.Contains(string(out), "needs a later build") {
			f.t.Errorf("'agent repair' of the former build with %q: %v, want %q: %s", args, err, want, out)
		}
	}
}
