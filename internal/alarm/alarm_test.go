package alarm

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/silent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a condition that a test switches, and the log.
type world struct {
	silent.Logger
	mu       sync.Mutex
	findings []Finding
	hang     chan struct{}
	lines    []string
}

func (w *world) set(findings ...Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.findings = findings
}

func (w *world) look(time.Time) []Finding {
	w.mu.Lock()
	hang, findings := w.hang, w.findings
	w.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return findings
}

func (w *world) Infof(format string, args ...any)    { w.log("INFO", format, args...) }
func (w *world) Warningf(format string, args ...any) { w.log("WARNING", format, args...) }

func (w *world) log(level, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, level+" "+fmt.Sprintf(format, args...))
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// run starts a registry with one condition, in a bubble of virtual time.
func run(t *testing.T, after time.Duration, test func(w *world, r *Registry, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		r, err := New(clock.WallClock, w, Condition{Name: "broken", Do: "mend it", Look: w.look, After: after},
			Condition{Name: "fine", Do: "nothing", Look: func(time.Time) []Finding { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		worker, err := r.Watch()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop := func() {
			worker.Kill()
			if err := worker.Wait(); err != nil {
				t.Error(err)
			}
		}
		test(w, r, stop)
		stop()
	})
}

// pass lets so many looks happen.
func pass(looks int) {
	time.Sleep(time.Duration(looks) * Period)
	synctest.Wait()
}

func TestAnAlarmLastsAsLongAsItsCause(t *testing.T) {
	run(t, 0, func(w *world, r *Registry, _ func()) {
		began := time.Now()
		w.set(Finding{Subject: "n2", Text: "gone"}, Finding{Subject: "n1", Text: "slow", Since: began.Add(-time.Hour)})
		pass(1)
		want := []interrex.Alarm{
			{Name: "broken", Subject: "n1", Since: began.Add(-time.Hour), Text: "slow", Do: "mend it"},
			{Name: "broken", Subject: "n2", Since: began.Add(Period), Text: "gone", Do: "mend it"},
		}
		got := r.Current()
		if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Fatalf("got %v, want %v", got, want)
		}
		w.set(Finding{Subject: "n2", Text: "gone for good"})
		pass(60)
		if got := r.Current(); len(got) != 1 || got[0].Text != "gone for good" || got[0].Since != want[1].Since {
			t.Fatalf("later: %v", got)
		}
		w.set()
		pass(1)
		if got := r.Current(); len(got) != 0 {
			t.Fatalf("at the end: %v", got)
		}
		log := "WARNING alarm: broken n2: gone; mend it"
		if !strings.Contains(w.logged(), log) || !strings.Contains(w.logged(), "INFO alarm is over after 1m1s: broken n2: gone for good") {
			t.Errorf("the log says\n%s", w.logged())
		}
		if n := strings.Count(w.logged(), "WARNING"); n != 2 {
			t.Errorf("%d warnings, want one for each alarm", n)
		}
	})
}

func TestWhatPassesSoonIsNoAlarm(t *testing.T) {
	run(t, 5*Period, func(w *world, r *Registry, _ func()) {
		w.set(Finding{Text: "no leader"})
		pass(4)
		w.set()
		pass(1)
		w.set(Finding{Text: "no leader"})
		pass(5)
		if got := r.Current(); len(got) != 0 || w.logged() != "" {
			t.Fatalf("too early: %v, %s", got, w.logged())
		}
		pass(1)
		if got := r.Current(); len(got) != 1 || time.Since(got[0].Since) != 5*Period {
			t.Fatalf("after its time: %v", got)
		}
	})
}

// An alert that waits for a minute must see one alarm, however often the agent
// cannot look meanwhile.
func TestWhatCannotBeToldGoesOnAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, unknown := &world{}, false
		r, err := New(clock.WallClock, w, Condition{Name: "broken", Do: "mend it", Look: w.look, Unknown: func() bool { return unknown }},
			Condition{Name: "other", Do: "mend it too", Look: w.look})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.set(Finding{Text: "gone"})
		r.Look()
		w.set()
		unknown = true
		for range 10 {
			time.Sleep(Period)
			r.Look()
		}
		if got := r.Current(); len(got) != 1 || got[0].Name != "broken" || !got[0].Since.Equal(began) {
			t.Errorf("while it cannot be told: %v", got)
		}
		unknown = false
		time.Sleep(Period)
		r.Look()
		if got := r.Current(); len(got) != 0 {
			t.Errorf("once it can be told: %v", got)
		}
	})
}

func TestWhatFailsAgainAndAgainIsOneAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		r, err := New(clock.WallClock, w, Condition{Name: "full", Do: "free it", Look: w.look, Keep: 10 * Period})
		if err != nil {
			t.Fatal(err)
		}
		worker, err := r.Watch()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 3 {
			w.set(Finding{Text: "no room"})
			pass(2)
			w.set()
			pass(9)
			if got := r.Current(); len(got) != 1 || got[0].Since.Sub(began) > Period {
				t.Fatalf("while it is tried again: %v", got)
			}
		}
		pass(2)
		if got := r.Current(); len(got) != 0 {
			t.Errorf("when it has gone well for long: %v", got)
		}
		if n := strings.Count(w.logged(), "WARNING"); n != 1 {
			t.Errorf("%d warnings, want one:\n%s", n, w.logged())
		}
		worker.Kill()
		if err := worker.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestALookThatHangsIsAnAlarmAndHoldsUpNothing(t *testing.T) {
	run(t, 0, func(w *world, r *Registry, stop func()) {
		hang := make(chan struct{})
		w.mu.Lock()
		w.hang = hang
		w.mu.Unlock()
		pass(1)
		began := time.Now()
		if got := r.Current(); len(got) != 0 {
			t.Fatalf("at once: %v", got)
		}
		time.Sleep(Stuck)
		if got := r.Current(); len(got) != 0 {
			t.Fatalf("too early: %v", got)
		}
		time.Sleep(Period)
		if got := r.Current(); len(got) != 1 || got[0].Name != StuckName || got[0].Since != began || !strings.Contains(got[0].Text, "broken") {
			t.Fatalf("stuck: %v", got)
		}
		stop()                  // while the look hangs
		again, err := r.Watch() // it leaves the conditions alone
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		again.Kill()
		if err := again.Wait(); err != nil {
			t.Fatal(err)
		}
		close(hang)
		synctest.Wait()
		if got := r.Current(); len(got) != 0 {
			t.Errorf("afterwards: %v", got)
		}
	})
}

func TestALookThatHangsStandsAmongTheOthers(t *testing.T) {
	run(t, 0, func(w *world, r *Registry, _ func()) {
		w.set(Found("down")...)
		pass(1)
		hang := make(chan struct{})
		w.mu.Lock()
		w.hang = hang
		w.mu.Unlock()
		pass(1)
		time.Sleep(Stuck + Period)
		got := r.Current()
		if len(got) != 2 || got[0].Name != StuckName || got[1].Name != "broken" {
			t.Errorf("got %v, want them by name", got)
		}
		close(hang)
	})
}

func TestARegistryThatNobodyLooksAfterIsNotStuck(t *testing.T) {
	run(t, 0, func(_ *world, r *Registry, stop func()) {
		stop()
		time.Sleep(2 * Stuck)
		if got := r.Current(); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
}

func TestAPanicIsTheConditionsOwn(t *testing.T) {
	l := &world{}
	r, err := New(clock.WallClock, l,
		Condition{Name: "a", Do: "report it", Look: func(time.Time) []Finding { panic("boom") }},
		Condition{Name: "b", Do: "mend it", Look: func(time.Time) []Finding { return Found("down") }})
	if err != nil {
		t.Fatal(err)
	}
	r.Look()
	if got := r.Current(); len(got) != 2 || got[0].Text != "cannot check: panic: boom" || got[1].String() != "b: down" {
		t.Error(got)
	}
}

func TestTheMetricHasEveryName(t *testing.T) {
	run(t, 0, func(w *world, r *Registry, _ func()) {
		w.set(Finding{Subject: "n1"}, Finding{Subject: "n2"})
		pass(1)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(r)
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "interrex_alarm" {
			t.Fatal(families, err)
		}
		got := map[string]float64{}
		for _, m := range families[0].GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
		if want := map[string]float64{StuckName: 0, "broken": 2, "fine": 0}; !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestTheReportNamesTheAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(clock.WallClock, &world{}, Condition{Name: "a", Do: "mend it", Look: func(time.Time) []Finding {
			return []Finding{{Subject: "n2", Text: "gone"}}
		}})
		if err != nil {
			t.Fatal(err)
		}
		w, err := r.Watch()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := fmt.Sprint(w.Report())
		if want := "map[alarms:map[a n2:map[do:mend it since:2000-01-01T00:00:00Z text:gone]]]"; got != want {
			t.Errorf("got %s", got)
		}
		w.Kill()
		if err := w.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestMoreFindingsThanAnyoneReadsAreCut(t *testing.T) {
	many := make([]Finding, MaxSubjects+1)
	for i := range many {
		many[i].Subject = fmt.Sprint(i)
	}
	r, err := New(clock.WallClock, &world{}, Condition{Name: "a", Do: "x", Look: func(time.Time) []Finding { return many }})
	if err != nil {
		t.Fatal(err)
	}
	r.Look()
	if n := len(r.Current()); n != MaxSubjects {
		t.Errorf("%d alarms, want %d", n, MaxSubjects)
	}
}

func TestConditionsAreChecked(t *testing.T) {
	look := func(time.Time) []Finding { return nil }
	for want, conditions := range map[string][]Condition{
		`alarm "" not valid: it needs a name, a Do and a Look`:   {{Do: "x", Look: look}},
		`alarm "a" not valid: it needs a name, a Do and a Look`:  {{Name: "a", Look: look}},
		`alarm "b" not valid: it needs a name, a Do and a Look`:  {{Name: "b", Do: "x"}},
		`alarm "c" not valid: the name is used twice`:            {{Name: "c", Do: "x", Look: look}, {Name: "c", Do: "x", Look: look}},
		`alarm "alarms-stuck" not valid: the name is used twice`: {{Name: StuckName, Do: "x", Look: look}},
	} {
		if _, err := New(clock.WallClock, &world{}, conditions...); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("no clock and no logger: no error")
	}
}
