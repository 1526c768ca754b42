package notify_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
)

func TestTargetIsToldInOrderAndEndsTogether(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.ring = watch.New(watch.Config{}) // with room for a batch
		f.world.claim("a", "ann")
		f.world.claim("b", "bob")
		f.world.apply(interrex.LeasePinned, "a", "")
		f.world.apply(interrex.LeaseTakenOver, "a", "ann2")
		f.world.apply(interrex.LeaseTransferred, "a", "cyd")
		f.world.apply(interrex.LeaseExpired, "a", "")
		f.world.apply(interrex.LeaseForced, "b", "")
		f.world.claim("a", "dan")
		f.start()
		want := []string{"a:ann", "b:bob", "a:ann2", "a:cyd", "-a,b", "a:dan"}
		if !slices.Equal(f.target.told, want) {
			t.Errorf("told %q, want %q", f.target.told, want)
		}
		f.wantInStep()
	})
}

func TestTargetFollowsWhatHappensLater(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		for range 30 { // more than the ring keeps, one by one
			f.world.claim("a", "ann")
			f.wantInStep()
			f.world.end("a")
			f.wantInStep()
		}
		if f.target.mended != 0 || f.world.lists != 0 {
			t.Errorf("compared %d times with nothing amiss", f.target.mended)
		}
	})
}

func TestNewWorkerResumesWhereTheTargetIs(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.claim("a", "ann")
		f.start()
		f.stop()
		f.world.claim("b", "bob")
		f.target.told = nil
		f.start()
		if want := []string{"b:bob"}; !slices.Equal(f.target.told, want) {
			t.Errorf("told %q, want %q", f.target.told, want)
		}
		f.wantInStep()
	})
}

func TestFailingTargetIsToldAgainFromWhatItKept(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.target.set(func(t *target) { t.fail = 3 })
		f.world.claim("a", "ann")
		f.settle(time.Minute)
		if want := []string{"a:ann", "a:ann", "a:ann", "a:ann"}; !slices.Equal(f.target.told, want) {
			t.Errorf("told %q, want %q", f.target.told, want)
		}
		f.wantInStep()
		if f.logs.count("warning") != 1 || f.logs.count("info") != 1 {
			t.Errorf("logged %v, want one warning and one word of its end", f.logs.lines)
		}
	})
}

func TestLostAnswerDoesNoHarm(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.target.set(func(t *target) { t.lose = true })
		f.world.claim("a", "ann")
		f.settle(time.Second)
		if want := []string{"a:ann"}; !slices.Equal(f.target.told, want) {
			t.Errorf("told %q, want %q: it had been kept", f.target.told, want)
		}
		f.wantInStep()
	})
}

func TestForgetfulTargetIsToldAgain(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.claim("a", "ann")
		f.settle(0)
		f.target.set(func(t *target) { // from a backup, say
			t.at.Revision, t.rows, t.fail = 0, map[interrex.Key]notify.Claimed{}, 1
		})
		f.world.claim("b", "bob")
		f.settle(time.Second)
		f.wantInStep()
	})
}

// While nothing happens the worker looks now and then where the target is.
func TestATargetThatIsNotWhereItWasIsFoundByALook(t *testing.T) {
	for name, move := range map[string]func(*projection.Position){
		"a backup":       func(p *projection.Position) { p.Revision = 0 },
		"a power cut":    func(p *projection.Position) { p.Unproved = true },
		"another's copy": func(p *projection.Position) { p.History.Cluster = "two" },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(f *fixture) {
				f.start()
				f.world.claim("a", "ann")
				f.settle(notify.DefaultPause)
				f.target.set(func(t *target) {
					t.rows = map[interrex.Key]notify.Claimed{}
					move(&t.at)
				})
				f.settle(5 * time.Second)
				f.wantInStep()
			})
		})
	}
}

// The state may be restored while the target is called: nothing that comes later
// says so.
func TestAHistoryThatChangesWhileItIsToldIsMended(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.target.set(func(t *target) { t.takes = time.Second })
		f.world.claim("a", "ann")
		f.settle(time.Second / 2)
		f.world.join("two")
		f.settle(time.Minute)
		f.wantInStep()
		if f.target.at.History.Cluster != "two" {
			t.Errorf("the copy is of %+v", f.target.at)
		}
	})
}

// Events of another history are not sent to the copy of this one.
func TestAHistoryThatHasChangedIsNotToldOn(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.claim("a", "ann")
		f.settle(time.Minute)
		f.world.join("two")
		f.world.claim("b", "bob")
		f.settle(time.Minute)
		f.wantInStep()
		if slices.ContainsFunc(f.target.told, func(note string) bool { return strings.Contains(note, "b") }) {
			t.Errorf("told %q", f.target.told)
		}
	})
}

// A target that has to prove itself is not taken back to a state that is behind.
func TestACopyIsNotComparedWithAStateThatIsBehind(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.target.at.Revision, f.target.at.Unproved = 2, true
		f.start()
		f.world.claim("a", "ann")
		f.settle(time.Minute)
		if f.target.calls != 0 {
			t.Error("it is compared with a state that is behind")
		}
		f.world.claim("b", "bob")
		f.settle(time.Minute)
		f.wantInStep()
	})
}

func TestAHistoryThatChangesWhileItIsBehindIsMended(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.target.at.Revision, f.target.at.Unproved = 50, true
		f.start()
		f.world.claim("a", "ann")
		f.settle(time.Second)
		f.world.join("two")
		f.settle(time.Minute)
		f.wantInStep()
		if f.target.at.History.Cluster != "two" {
			t.Errorf("the copy is of %+v", f.target.at)
		}
	})
}

func TestRetriesBackOffAndWarnOnceAMinute(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.target.set(func(t *target) { t.fail = 1 << 30 })
		f.world.claim("a", "ann")
		f.start()
		f.settle(10 * time.Minute)
		// 0.2, 0.4 ... 25.6 s in the first 51 s, then every 30 s.
		if f.target.calls < 20 || f.target.calls > 30 {
			t.Errorf("tried %d times in 10 minutes", f.target.calls)
		}
		if n := f.logs.count("warning"); n < 5 || n > 11 {
			t.Errorf("warned %d times in 10 minutes", n)
		}
		report := f.worker.Report()
		if report["last-error"] != "boom" || report["lag"] != uint64(1) || report["position"] != uint64(0) {
			t.Errorf("Report = %v", report)
		}
		if lag, failed := f.worker.Progress().Lag, f.failed.Load(); lag != 1 || failed != int64(report["failures"].(int)) || failed < 10 {
			t.Errorf("it lags by %d after %d failures", lag, failed)
		}
	})
}

func TestProgressIsOfTheFailuresInARow(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.settle(time.Minute)
		for _, name := range []string{"a", "b"} {
			began := time.Now()
			f.target.set(func(t *target) { t.fail = 4 })
			f.world.claim(name, "ann")
			f.settle(0)
			if p := f.worker.Progress(); p.Failures != 1 || !p.Since.Equal(began) || p.Err == nil || p.Lag != 1 {
				t.Errorf("%s, at once: %+v", name, p)
			}
			f.settle(time.Second)
			if p := f.worker.Progress(); p.Failures < 2 || !p.Since.Equal(began) {
				t.Errorf("%s, a second after %s: %+v", name, began, p)
			}
			f.settle(time.Minute)
			if p := f.worker.Progress(); p.Lag != 0 || p.Failures != 0 || !p.Since.IsZero() || p.Err != nil {
				t.Errorf("%s, at the end: %+v", name, p)
			}
		}
	})
}

func TestGapIsMended(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.claim("a", "ann")
		f.world.claim("z", "zoe")
		f.settle(0)
		f.target.set(func(t *target) { t.fail = 5 })
		f.world.end("z")
		f.settle(0)
		for i := range 20 { // the ring keeps 8
			f.world.claim(fmt.Sprint("k", i), "kay")
		}
		f.settle(time.Minute)
		if f.target.mended == 0 {
			t.Error("nothing was compared")
		}
		f.wantInStep()
		f.world.end("k3")
		f.wantInStep()
	})
}

func TestStartAfterAGapIsMended(t *testing.T) {
	bubble(t, func(f *fixture) {
		for i := range 20 {
			f.world.claim(fmt.Sprint("k", i), "kay")
		}
		f.start()
		f.wantInStep()
		if f.target.mended != 1 {
			t.Errorf("compared %d times, want once", f.target.mended)
		}
	})
}

func TestRestoreIsMended(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.claim("a", "ann")
		f.world.claim("b", "bob")
		f.settle(0)
		f.world.restore("one", 100, "b", "c", "d", "e", "f")
		f.wantInStep()
		f.world.end("c")
		f.wantInStep()
	})
}

// A restarted agent's state comes back from a snapshot that is older than
// what the target has seen, and then from the log.
func TestStateBehindTheTargetIsWaitedFor(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.target.at.Revision = 3
		f.target.rows[key("a")] = notify.Claimed{Key: key("a"), Holder: "ann", Token: 1}
		f.target.rows[key("b")] = notify.Claimed{Key: key("b"), Holder: "bob", Token: 3}
		f.start()
		f.world.claim("a", "ann")
		f.world.restore("one", 1)
		f.world.leases[key("a")] = record("a", "ann", 1)
		f.settle(time.Minute)
		f.world.claim("c", "cyd")
		f.settle(time.Minute)
		if len(f.target.rows) != 2 || len(f.target.told) != 0 || f.target.mended != 0 {
			t.Errorf("the copy went back: %v, told %v", f.target.rows, f.target.told)
		}
		f.world.claim("b", "bob")
		f.world.end("c")
		f.settle(0)
		if want := []string{"-c"}; !slices.Equal(f.target.told, want) {
			t.Errorf("told %q, want %q", f.target.told, want)
		}
		f.wantInStep()
	})
}

// A new epoch, or a wiped disk in a new cluster, may have any revision.
func TestAnotherHistoryIsMendedWhateverItsRevision(t *testing.T) {
	for _, revision := range []interrex.Revision{2, 50, 5000} {
		bubble(t, func(f *fixture) {
			f.target.at.Revision = 50
			f.target.rows[key("gone")] = notify.Claimed{Key: key("gone"), Token: 40}
			f.world.restore("two", revision, "a")
			f.start()
			f.wantInStep()
			f.world.claim("b", "bob")
			f.wantInStep()
		})
	}
}

func TestHistoryThatChangesMeanwhileIsMended(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.claim("a", "ann")
		f.settle(0)
		f.target.set(func(t *target) { t.rows[key("stray")] = notify.Claimed{Token: 1} })
		f.world.join("two")
		f.world.claim("b", "bob")
		f.settle(0)
		f.wantInStep()
	})
}

func TestNothingIsToldBeforeTheClusterIsKnown(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.target.rows[key("a")] = notify.Claimed{Key: key("a"), Holder: "ann", Token: 1}
		f.target.at.Revision = 1
		f.world.join("")
		f.start()
		f.settle(time.Hour)
		if f.target.mended != 0 || f.target.calls != 0 {
			t.Error("the target was touched")
		}
		f.world.claim("a", "ann")
		f.world.join("one")
		f.settle(time.Second)
		f.wantInStep()
		f.world.claim("b", "bob")
		f.wantInStep()
	})
}

func TestHangingTargetBlocksNobodyAndIsGivenUp(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.target.set(func(t *target) { t.hang = true })
		for i := range 100 {
			f.world.claim(fmt.Sprint("k", i), "kay") // returns: publishing never waits
		}
		f.settle(31 * time.Second)
		f.target.set(func(t *target) { t.hang = false })
		f.settle(notify.DefaultMendTimeout) // of the comparison that hung
		f.wantInStep()
	})
}

func TestEachCallOfATargetHasItsTime(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.target.at.History = projection.History{} // so that it is compared
		f.start()
		f.world.claim("a", "ann")
		f.wantInStep()
		for call, want := range map[string]time.Duration{
			"Position": notify.DefaultNotifyTimeout, "Notify": notify.DefaultNotifyTimeout, "Replace": notify.DefaultMendTimeout,
		} {
			if got := f.target.limits[call]; got != want {
				t.Errorf("%s has %s, want %s", call, got, want)
			}
		}
	})
}

func TestKillEndsAWorkerWhoseTargetHangs(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.target.set(func(t *target) { t.hang = true })
		f.world.claim("a", "ann")
		synctest.Wait()
		began := time.Now()
		f.worker.Kill()
		if err := f.worker.Wait(); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Kill took %v", took)
		}
	})
}

func TestClosedRingIsAFailureLikeAnother(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.ring.Close()
		f.settle(time.Minute)
		if err, _ := f.worker.Report()["last-error"].(string); !strings.Contains(err, "watch closed") {
			t.Errorf("Report = %v", f.worker.Report())
		}
	})
}

func TestReportSaysWhenItIsInStep(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.world.claim("a", "ann")
		f.settle(notify.DefaultPause)
		f.world.mu.Lock()
		f.world.revision += 10 // extends: no event
		f.world.mu.Unlock()
		report := f.worker.Report()
		if report["phase"] != "in step" || report["lag"] != uint64(0) || report["position"] != uint64(1) {
			t.Errorf("Report = %v", report)
		}
	})
}

func TestConfigNamesWhatIsMissing(t *testing.T) {
	w, tg := newWorld(), newTarget()
	full := notify.Config{Source: w.ring, Leases: w, State: w, Target: tg, Clock: clock.WallClock}
	if err := full.Validate(); err != nil {
		t.Errorf("Validate of a full one: %v", err)
	}
	for want, breakIt := range map[string]func(*notify.Config){
		"nil Source not valid":        func(c *notify.Config) { c.Source = nil },
		"nil Leases not valid":        func(c *notify.Config) { c.Leases = nil },
		"nil State not valid":         func(c *notify.Config) { c.State = nil },
		"nil Target not valid":        func(c *notify.Config) { c.Target = nil },
		"nil Clock not valid":         func(c *notify.Config) { c.Clock = nil },
		"negative MaxRetry not valid": func(c *notify.Config) { c.MaxRetry = -1 },
	} {
		c := full
		breakIt(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate = %v, want %q", err, want)
		}
		if _, err := notify.NewWorker(c); errors.Unwrap(err) == nil {
			t.Errorf("NewWorker took it: %v", err)
		}
	}
}
