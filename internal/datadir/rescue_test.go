package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/disk"
)

func (s *survivor) backups() []string {
	all, err := filepath.Glob(filepath.Join(s.dir, "before-recovery*"))
	s.must(err)
	return all
}

func TestASurvivorBecomesAClusterOfOne(t *testing.T) {
	s := newSurvivor(t, 30, 10, "a", "b", "c")
	no := errors.New("a leader is there")
	cfg, _ := s.config()
	cfg.Allow = func() error { return no }
	if _, err := Rescue(cfg); !errors.Is(err, no) || len(s.backups()) > 0 {
		t.Errorf("%v, and there are %v", err, s.backups())
	}
	s.examine(Sound)
	cfg, st := s.config()
	r, err := Rescue(cfg)
	s.must(err)
	after := s.examine(Sound)
	if !after.Alone || after.Epoch.Number != 1 || after.Epoch != st.Identity().Epoch || r.Epoch != after.Epoch {
		t.Errorf("it is %+v", after)
	}
	before := &survivor{t: t, dir: r.Backup, before: s.before}
	if is := before.examine(Sound); is.Epoch != s.before.Epoch || len(is.Members.Servers) != 3 {
		t.Errorf("the backup has %+v", is)
	}
	s.leads(st.Identity(), r.Loss)
	cfg, _ = s.config()
	if _, err := Rescue(cfg); err == nil || !strings.Contains(err.Error(), "only voter") {
		t.Errorf("again: %v", err)
	}
}

// Between the snapshot and the identity; what is run again completes it.
func TestARescueIsCompleted(t *testing.T) {
	s := newSurvivor(t, 30, 10, "a", "b", "c")
	cfg, st := s.config()
	r, err := Rescue(cfg)
	s.must(err)
	s.must(SaveIdentity(s.dir, s.before))
	cfg, _ = s.config()
	cfg.Allow = func() error { return errors.New("it is asked again") }
	again, err := Rescue(cfg)
	if err != nil || again.Backup != "" || again.Epoch != r.Epoch || s.examine(Sound).Epoch != r.Epoch {
		t.Errorf("%+v, %v", again, err)
	}
	s.leads(st.Identity(), r.Loss)
}

func TestADirectoryInUseIsNotRescued(t *testing.T) {
	s := newSurvivor(t, 1, 0, "a", "b", "c")
	lock, err := disk.LockDir(s.dir, "agent a")
	s.must(err)
	cfg, _ := s.config()
	if _, err := Rescue(cfg); !errors.Is(err, disk.ErrInUse) {
		t.Error(err)
	}
	s.must(lock.Unlock())
}

func TestASkippedSnapshotIsNotRescued(t *testing.T) {
	s := newSurvivor(t, 30, 20, "a", "b", "c")
	snapshots, err := filepath.Glob(filepath.Join(s.raft(), "snapshots", "*", "state.bin"))
	s.must(err)
	b, err := os.ReadFile(snapshots[0])
	s.must(err)
	b[len(b)/2] ^= 1
	s.must(os.WriteFile(snapshots[0], b, 0o600))
	s.damage(3)
	cfg, _ := s.config()
	if _, err := Rescue(cfg); err == nil || !strings.Contains(err.Error(), "the snapshot ") || len(s.backups()) > 0 {
		t.Error(err)
	}
}

// Whatever it was cut short after, no agent runs before it is completed.
func TestSettingAsideIsCompleted(t *testing.T) {
	for cut := range 4 {
		s := newSurvivor(t, 1, 0, "a", "b", "c")
		s.must(os.Mkdir(unfinishedAside(s.dir), 0o700))
		for _, name := range []string{RaftDir, PeersName, identityName}[:cut] {
			if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(unfinishedAside(s.dir), name)); err != nil && name != PeersName {
				t.Fatal(err)
			}
		}
		if _, err := OpenIdentity(s.dir, "a"); cut > 0 && cut < 3 && err == nil {
			t.Errorf("after %d moves an agent runs", cut)
		}
		s.must(FinishSettingAside(s.dir))
		is, err := OpenIdentity(s.dir, "a")
		if err != nil || is.ClusterID != "" || is.Incarnation == "disk" {
			t.Errorf("after %d moves: %+v, %v", cut, is, err)
		}
		aside := &survivor{t: t, dir: filepath.Join(s.dir, AsideName), before: s.before}
		aside.examine(Sound)
	}
}
