package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/authority"
	devca "github.com/interrex/interrex/internal/certificates"
)

// is fails unless a finding has a level and its text, with what to do, some words. A
// finding that is not ok says what to do.
func is(t *testing.T, f Finding, level Level, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(f.Text+" "+f.Do, word) {
			t.Errorf("%+v does not say %q", f, word)
		}
	}
	if f.Level != level || (f.Level == OK) != (f.Do == "") {
		t.Errorf("%+v is not %s, or does not say what to do", f, level)
	}
}

func TestTheWorstLevelCounts(t *testing.T) {
	for want, all := range map[Level][]Finding{
		OK: nil, Warn: {{Level: OK}, {Level: Warn}, {Level: OK}}, Fail: {{Level: Fail}, {Level: Warn}},
	} {
		if got := Worst(all); got != want {
			t.Errorf("%v: %s", all, got)
		}
	}
}

func TestARateOfTheClockThatLeasesDoNotAllowFails(t *testing.T) {
	for _, c := range []struct {
		freq, tick int64
		want       Level
	}{
		{0, 10_000, OK}, {-400 << 16, 10_000, OK}, {600 << 16, 10_000, Warn}, {0, 9_900, Warn}, {0, 10_260, Fail}, {-100 << 16, 9_700, Fail},
	} {
		is(t, rate(unix.Timex{Freq: c.freq, Tick: c.tick}), c.want)
	}
}

func TestAClockThatIsSlewedOrNotSynchronisedIsWarnedOf(t *testing.T) {
	is(t, slewing(unix.Timex{Offset: 90_000}, unix.Timex{}, unix.TIME_OK), OK, "90 ms")
	is(t, slewing(unix.Timex{Offset: -200_000}, unix.Timex{}, unix.TIME_OK), Warn, "200 ms")
	is(t, slewing(unix.Timex{Offset: 200_000, Status: unix.STA_NANO}, unix.Timex{}, unix.TIME_OK), OK)
	is(t, slewing(unix.Timex{}, unix.Timex{Offset: 3_000_000}, unix.TIME_OK), Warn, "3 s")
	is(t, slewing(unix.Timex{}, unix.Timex{}, unix.TIME_ERROR), Warn, "not synchronised")
}

func TestTheClockOfThisMachineIsRead(t *testing.T) {
	if got := clock(); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestSlowAndFailedWritesAreJudged(t *testing.T) {
	const ms = time.Millisecond
	is(t, judgeSyncs("d", measured{took: []time.Duration{3 * ms, ms, 2 * ms}}), OK, "p50 2 ms")
	is(t, judgeSyncs("d", measured{took: []time.Duration{30 * ms}}), Warn, "faster disk")
	is(t, judgeSyncs("d", measured{took: []time.Duration{800 * ms}}), Fail, "disk-slow")
	is(t, judgeSyncs("d", measured{err: unix.ENOSPC}), Fail, "free space")
	is(t, judgeSyncs("d", measured{err: errors.New("odd")}), Fail, "odd")
}

func TestNothingIsLeftInTheDirectory(t *testing.T) {
	dir := t.TempDir()
	all := diskOf(dir)
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("%v is left, %v", left, err)
	}
	if len(all) != 3 || !strings.Contains(all[0].Text, "p99") {
		t.Errorf("%+v", all)
	}
}

func TestADirectoryThatIsNotThereYetIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	all := diskOf(dir)
	is(t, all[0], Warn, "not there yet")
	if _, err := os.Stat(filepath.Dir(dir)); err == nil || len(all) != 3 {
		t.Errorf("it was made, or its file system was not examined: %+v", all)
	}
}

func TestSpaceAndInodesAreJudged(t *testing.T) {
	disk := func(free, size uint64) unix.Statfs_t {
		return unix.Statfs_t{Bsize: 1 << 20, Bavail: free, Blocks: size}
	}
	is(t, judgeSpace("d", disk(2000, 100_000)), OK)
	is(t, judgeSpace("d", disk(200, 1000)), OK)
	is(t, judgeSpace("d", disk(900, 100_000)), Warn, "disk-low")
	is(t, judgeSpace("d", disk(31, 200)), Fail)
	is(t, judgeFiles("d", unix.Statfs_t{}), OK, "no limit")
	is(t, judgeFiles("d", unix.Statfs_t{Files: 9000, Ffree: 2000}), OK)
	is(t, judgeFiles("d", unix.Statfs_t{Files: 9000, Ffree: 900}), Warn)
	is(t, judgeFiles("d", unix.Statfs_t{Files: 9000}), Fail)
}

func TestAPortThatAnotherProgramHasFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c config.Config
	c.API.Listen = l.Addr().String()
	c.Cluster.Listen, c.Cluster.TLS.CA = "127.0.0.1:0", "ca.pem"
	all := listening(context.Background(), c, false)
	is(t, all[0], Fail, "api.listen", "ss -ltnp")
	is(t, all[1], OK, "cluster.listen")
	for _, f := range listening(context.Background(), c, true) {
		is(t, f, OK, "runs here")
	}
	c.Raft.Enabled = config.Off
	is(t, listening(context.Background(), c, true)[1], OK, "cluster.listen: not used")
}

func TestNamesThatDoNotResolve(t *testing.T) {
	var c config.Config
	c.API.Listen = "127.0.0.1:1"
	is(t, names(context.Background(), c)[0], OK, "numeric")
	c.API.Listen, c.Cluster.Join = "localhost:1", []string{"no-such-host.invalid:1", "localhost:2", "127.0.0.1:3"}
	all := names(context.Background(), c)
	is(t, all[0], OK, "localhost is")
	is(t, all[1], Warn, "no-such-host.invalid", "cluster.join")
	c.API.Advertise, c.Cluster.Join = "no-such-host.invalid:1", c.Cluster.Join[:1]
	all = names(context.Background(), c)
	is(t, all[1], Fail, "api.advertise")
	is(t, all[2], Fail, "cluster.join")
}

func TestCertificatesAreJudgedByTheirEnd(t *testing.T) {
	dir := t.TempDir()
	ca, err := devca.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(dir, "n1")
	if err != nil {
		t.Fatal(err)
	}
	var c config.Config
	c.Agent.DataDir = dir
	c.Cluster.TLS = config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
	const day = 24 * time.Hour
	for after, want := range map[time.Duration]Level{0: OK, 340 * day: Warn, 366 * day: Fail, -2 * time.Hour: Fail} {
		for _, f := range certificates(c, time.Now().Add(after)) {
			is(t, f, want, "cluster.tls.c")
		}
	}
	c.API.TLS.Cert, c.API.TLS.Key = files.Cert, filepath.Join(dir, "none")
	is(t, pair("api.tls", files.Cert, c.API.TLS.Key)[0], Fail, "api.tls.key", "no such file")
	is(t, pair("api.tls", files.CA, files.Key)[0], Fail, "does not match")
	if f := pair("api.tls", files.Cert, files.Key); len(f) > 0 {
		t.Error(f)
	}
	c.API.TLS.Cert = files.Key
	c.API.TLS.ClientCA = filepath.Join(dir, "none")
	all := certificates(c, time.Now())
	is(t, all[2], Fail, "no certificate")
	is(t, all[3], Fail, "api.tls.client-ca")
	is(t, certificates(config.Config{}, time.Now())[0], OK, "none")
}

func TestACertificateThatTheAgentRenewsIsNotIssuedByHand(t *testing.T) {
	ca, err := devca.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	var c config.Config
	c.Agent.ID, c.Agent.DataDir = "n1", t.TempDir()
	files, err := ca.Write(c.Agent.DataDir, "n1")
	if err != nil {
		t.Fatal(err)
	}
	c.Cluster.TLS = config.TLSFiles{Cert: filepath.Join(c.Agent.DataDir, authority.AgentCertName), Key: files.Key}
	if err := os.Rename(files.Cert, c.Cluster.TLS.Cert); err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	for after, want := range map[time.Duration]Level{340 * day: Warn, 366 * day: Fail} {
		is(t, certificates(c, time.Now().Add(after))[0], want, "start the agent", "join-token create --for n1")
	}
	f := certificates(c, time.Now().Add(-2*time.Hour))[0]
	if is(t, f, Fail, "correct the clock"); strings.Contains(f.Do, "start the agent") {
		t.Error(f)
	}
}

func TestTheFileCAPemIsExaminedWithoutBeingNamed(t *testing.T) {
	var c config.Config
	c.Agent.DataDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.Agent.DataDir, "ca.pem"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	is(t, certificates(c, time.Now())[0], Fail, "ca.pem")
}

func TestAClusterWithoutALeaderFails(t *testing.T) {
	m := &interrexv1.StatusResponse{Id: "n1", Quorum: "3 voters, 1 may fail", LeaderId: "n2"}
	is(t, Quorum(m)[0], OK, "1 may fail", "as n1 sees it")
	m.Members = []*interrexv1.MemberStatus{{Id: "n3", Silent: true, LastContact: durationpb.New(7 * time.Second)}}
	m.Alarms = []*interrexv1.Alarm{{Name: "member-silent", Subject: "n3", Do: "x"}, {Name: "disk-low", Text: "full soon", Do: "free space"}}
	all := Quorum(m)
	is(t, all[1], Warn, "n3 has been silent for 7 s")
	is(t, all[2], Warn, "disk-low", "full soon", "free space")
	if len(all) != 3 {
		t.Errorf("%+v", all)
	}
	m.LeaderId = ""
	is(t, Quorum(m)[0], Fail, "no leader")
	m.State = "standalone"
	is(t, Quorum(m)[0], OK, "no cluster")
	is(t, Unasked(false, nil), Warn)
	is(t, Unasked(true, errors.New("denied")), Fail, "denied")
}
