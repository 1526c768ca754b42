package featuretests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
)

// flip changes the last byte of each copy of a text in the memory of member i, as failing
// memory does, and returns what is there then.
func (f *fleet) flip(i int, text string) (now string) {
	f.t.Helper()
	pid := f.members[i].cmd.Process.Pid
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		f.t.Fatal(err)
	}
	last := text[len(text)-1] ^ 1
	flipped := 0
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var may string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); n != 3 || !strings.HasPrefix(may, "rw") {
			continue
		}
		memory := make([]byte, to-from)
		n, err := unix.ProcessVMReadv(pid, iovec(memory), remote(from, len(memory)), 0)
		if err != nil {
			continue // it is not mapped
		}
		for at, rest := 0, memory[:n]; ; {
			next := bytes.Index(rest, []byte(text))
			if next < 0 {
				break
			}
			at += next + len(text)
			rest = rest[next+len(text):]
			if _, err := unix.ProcessVMWritev(pid, iovec([]byte{last}), remote(from+uint64(at)-1, 1), 0); err != nil {
				f.t.Fatalf("cannot write into the memory of %s: %v", f.id(i), err)
			}
			flipped++
		}
	}
	if flipped == 0 {
		f.t.Fatalf("%q is not in the memory of %s", text, f.id(i))
	}
	return text[:len(text)-1] + string(last)
}

func iovec(b []byte) []unix.Iovec {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return []unix.Iovec{v}
}

func remote(at uint64, n int) []unix.RemoteIovec {
	return []unix.RemoteIovec{{Base: uintptr(at), Len: n}}
}

// holder returns who holds a lease, as member i has it.
func (f *fleet) holder(leases interrex.Leases, k interrex.Key) (string, error) {
	l, _, err := leases.Get(f.t.Context(), k, interrex.ReadOptions{Consistency: interrex.Eventual})
	return l.Holder, err
}

// wrongMemory makes the memory of member i wrong, has it found, and checks that the
// member is filled anew, and serves what is right again.
func (f *fleet) wrongMemory(i int) {
	f.t.Helper()
	right, k := fmt.Sprintf("holder-of-some-length-%d-%d", i, time.Now().UnixNano())+"-p", key("app/db")
	all, mine := f.client().Leases(), f.client(i).Leases()
	won, err := all.Claim(f.t.Context(), interrex.ClaimRequest{Key: k, Holder: right, TTL: time.Hour})
	if err != nil {
		f.t.Fatal(err)
	}
	is := func(want string) func() error {
		return func() error {
			got, err := f.holder(mine, k)
			if err == nil && got != want {
				err = fmt.Errorf("it is %q", got)
			}
			return err
		}
	}
	eventually(f.t, "the member has the lease", is(right))
	wrong := f.flip(i, right)
	eventually(f.t, "its memory is wrong", is(wrong))

	other := f.others(i)[0]
	text, code := f.says(other, "state", "compare")
	for _, want := range []string{"section leases, version 2", "unlike " + f.id(i)} {
		if code != 1 || !strings.Contains(text, want) {
			f.t.Errorf("the comparison does not say %q, exit code %d:\n%s", want, code, text)
		}
	}
	f.logged(i, "its state is filled anew")
	eventually(f.t, "the member has what is right", func() error {
		got, err := f.holder(mine, k)
		if err == nil && got != right {
			f.t.Fatalf("it shows %q after the verdict", got)
		}
		return err
	})
	f.answers(i)
	for j := range f.members {
		f.alarms(j, "state-differs")
	}
	said, _ := f.says(i, "status")
	if kept, _ := filepath.Glob(filepath.Join(f.data(i), "raft", "condemned", "*", "*.wal")); len(kept) == 0 || !strings.Contains(said, filepath.Dir(kept[0])) {
		f.t.Errorf("kept is %v, and the status says:\n%s", kept, said)
	}
	if text, code := f.says(other, "state", "compare"); code != 0 || !strings.Contains(text, ": equal states of "+f.id(0)) || strings.Contains(text, "DIFFERS") || strings.Contains(text, "no response") {
		f.t.Errorf("afterwards: exit code %d\n%s", code, text)
	}
	for j := range f.members {
		f.alarms(j)
	}
	if _, err := all.Revoke(f.t.Context(), interrex.RevokeRequest{Key: k, Token: won.Lease.Token}); err != nil {
		f.t.Error(err)
	}
}

func TestAFollowersWrongMemoryIsFoundAndFilledAnew(t *testing.T) {
	f := newFleet(t, 3, nil)
	f.wrongMemory(f.others(f.leader())[0])
}

func TestALeadersWrongMemoryIsFoundAndLeadershipGoesToAnother(t *testing.T) {
	f := newFleet(t, 3, nil)
	leader := f.leader()
	f.wrongMemory(leader)
	if now := f.leader(); now == leader {
		t.Error("it leads still")
	}
	if log, err := os.ReadFile(f.members[leader].log); err != nil || bytes.Contains(log, []byte("leadership was not handed over")) {
		t.Errorf("%v: it did not hand over", err)
	}
}

// The state that the leader sends is in a snapshot when its log begins later.
func TestAStateIsFilledFromASnapshot(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) {
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 64, time.Second
	})
	bad := f.others(f.leader())[0]
	leases := f.client().Leases()
	for i := range 100 {
		if _, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprintf("app/%d", i)), Holder: "ann", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range f.members {
		f.logged(i, "snapshot complete")
	}
	f.wrongMemory(bad)
}

// Of two members none knows which one is right.
func TestOfTwoThatDifferNoneIsFilledAnew(t *testing.T) {
	f := newFleet(t, 2, nil)
	bad := f.others(f.leader())[0]
	right := fmt.Sprintf("holder-of-some-length-%d-p", time.Now().UnixNano())
	if _, err := f.client().Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: right, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	mine := f.client(bad).Leases()
	eventually(t, "the member has the lease", func() error {
		_, err := f.holder(mine, key("app/db"))
		return err
	})
	wrong := f.flip(bad, right)
	text, code := f.says(0, "state", "compare")
	if code != 1 || !strings.Contains(text, "no majority of the voters has one of them") || !strings.Contains(text, f.id(0)) || !strings.Contains(text, f.id(1)) {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	for i := range f.members {
		f.alarms(i, "state-differs")
	}
	if got, err := f.holder(mine, key("app/db")); got != wrong || err != nil {
		t.Errorf("it has %q, %v", got, err)
	}
}

// States are compared by themselves once there is something new.
func TestStatesAreComparedByThemselves(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) { c.Compare.Every = time.Second })
	if _, err := f.client().Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for i := range f.members {
		eventually(t, f.id(i)+" has compared its state", func() error {
			s, err := f.status(i)
			var ids []string
			for _, r := range s.GetComparison().GetReports() {
				ids = append(ids, r.GetAgent())
			}
			if err == nil && !slices.Equal(ids, []string{"n1", "n2", "n3"}) {
				err = errors.New(s.GetComparison().String())
			}
			return err
		})
	}
	text, _ := f.says(0, "status")
	if !strings.Contains(text, "equal states of n1, n2, n3") {
		t.Errorf("status:\n%s", text)
	}
}
