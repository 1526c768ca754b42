package featuretests

import (
	"strings"
	"testing"
)

// Without a quorum a lock says so, and ends with its wait regardless of its ttl; if
// it may wait, it is granted once there is a quorum again.
func TestLockWithoutAQuorumSpeaksAndIsBounded(t *testing.T) {
	f := newFleet(t, 3, nil)
	leader := f.leader()
	for _, i := range f.others(leader) {
		f.kill(i)
	}
	for _, wait := range []string{"0s", "8s"} {
		lock, said := f.run(leader, "lock", "app/db", "--ttl", "24h", "--wait", wait, "--", "true")
		if err := lock.Wait(); lock.ProcessState.ExitCode() != 124 {
			t.Errorf("--wait %s: %v, want exit code 124\n%s", wait, err, said)
		}
		if wait == "8s" && !strings.Contains(said.String(), "waiting for a leader: agent "+f.id(leader)+" says: ") {
			t.Errorf("it does not say what it waits for:\n%s", said)
		}
	}
	lock, said := f.run(leader, "lock", "app/other", "--", "true")
	for _, i := range f.others(leader) {
		f.start(i)
	}
	if err := lock.Wait(); err != nil {
		t.Errorf("it has not won: %v\n%s", err, said)
	}
}
