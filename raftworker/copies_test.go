package raftworker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copyOf copies a raft directory; back puts it back, in place or under files of
// its own.
func copyOf(t *testing.T, dir string) (back func(inPlace bool)) {
	t.Helper()
	saved := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(saved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return func(inPlace bool) {
		t.Helper()
		kept := filepath.Join(t.TempDir(), "VERSION")
		if err := os.Rename(filepath.Join(dir, "VERSION"), kept); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(saved)); err != nil {
			t.Fatal(err)
		}
		if inPlace {
			if err := os.Rename(kept, filepath.Join(dir, "VERSION")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// followers returns the two that do not lead.
func followers(all map[string]*running, first *running) (rest []*running) {
	for _, r := range all {
		if r != first {
			rest = append(rest, r)
		}
	}
	return rest
}

// copied starts three agents, of which old has an entry, is stopped, and was
// copied: back puts the copy in its directory's place.
func copied(t *testing.T) (all map[string]*running, first, old *running, back func(inPlace bool)) {
	t.Helper()
	all = fitCluster(t, "a", "b", "c")
	first = leader(t, all)
	first.put(first.w, "one")
	old = followers(all, first)[0]
	old.until("the entry", func() bool { i, _ := old.state.Applied(); return i > 0 })
	old.stop(old.w)
	return all, first, old, copyOf(t, old.cfg.StorageDir)
}

// startAnew starts the worker as in another process: with an empty state.
func (r *running) startAnew() {
	r.state = newState(r.t, r.log)
	r.cfg.State = r.state
	r.w = r.start()
}

func TestACopyOfThisTermIsInQuarantine(t *testing.T) {
	all, first, old, back := copied(t)
	old.w = old.start()
	for i := range 5 {
		first.put(first.w, string(rune('k'+i)))
	}
	last, _ := first.state.Applied()
	old.until("all entries", func() bool { i, _ := old.state.Applied(); return i >= last })
	// The remaining agents know what it has stored, and send it nothing.
	first.mute.Store(true)
	old.stop(old.w)
	back(true)
	old.startAnew()
	old.until("quarantine", func() bool { return old.w.Quarantine() != nil })
	if why := old.w.Quarantine(); !strings.Contains(why.Error(), "it has stored entries up to") {
		t.Error(why)
	}
	first.mute.Store(false)
	old.until("its end", func() bool { return old.w.Quarantine() == nil })
	stopAll(all)
}

func TestACopyOfAnEarlierTermTakesPartInNothing(t *testing.T) {
	all, first, old, back := copied(t)
	old.cfg.Leaving = func() error { return errors.New("it shall not lead") }
	old.w = old.start()
	old.until("a leader", func() bool { return old.tracker.Current().LeaderID != "" })
	first.stop(first.w) // another term
	delete(all, first.name())
	second := leader(t, all)
	second.put(second.w, "two")
	old.stop(old.w)
	back(true)
	old.startAnew()
	old.until("silence", func() bool {
		why := old.w.Quarantine()
		return why != nil && strings.Contains(why.Error(), "older copy")
	})
	if why := old.w.Quarantine().Error(); strings.Contains(why, "\n") || strings.Contains(why, "sent it") || !strings.HasSuffix(why, "bring back the newest copy of its directory, or its disk counts as lost") {
		t.Errorf("an agent that nobody sends anything says %q", why)
	}
	if err := old.w.life.rules.MaySend(nil); err == nil {
		t.Error("it says something")
	}
	if _, _, answered := old.w.life.rules.Answer(nil); !answered {
		t.Error("raft hears something")
	}
	all[first.name()] = first
	first.w = first.start()
	delete(all, old.name())
	leader(t, all)
	old.w.Kill()
	_ = old.w.Wait()
	stopAll(all)
}

func TestADirectoryThatWasCopiedWaitsForEveryMember(t *testing.T) {
	all := fitCluster(t, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	rest := followers(all, first)
	old, other := rest[0], rest[1]
	old.until("the entry", func() bool { i, _ := old.state.Applied(); return i > 0 })
	old.stop(old.w)
	copyOf(t, old.cfg.StorageDir)(false)
	other.stop(other.w)
	old.w = old.start()
	old.until("silence", func() bool {
		why := old.w.Quarantine()
		return why != nil && strings.HasSuffix(why.Error(), "still missing: "+other.name())
	})
	for range 30 { // it looks several times, and stays silent
		time.Sleep(50 * time.Millisecond)
		if old.w.Quarantine() == nil {
			t.Fatal("it takes part without having met " + other.name())
		}
	}
	other.w = other.start()
	old.until("trust", func() bool { return old.w.Quarantine() == nil })
	now := leader(t, all)
	now.put(now.w, "two")
	old.stop(old.w)
	old.w = old.start() // it is at home now
	if why := old.w.Quarantine(); why != nil && strings.Contains(why.Error(), "copied") {
		t.Error(why)
	}
	stopAll(all)
}

func TestACopiedDirectoryOfAnAgentAloneIsSaid(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.put(w, "one")
	a.stop(w)
	copyOf(t, a.cfg.StorageDir)(false)
	w = a.start()
	a.leads()
	if text := strings.Join(a.log.all(), "\n"); !strings.Contains(text, "was copied or moved") {
		t.Error(text)
	}
	a.stop(w)
}
