package main

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// speaking is a command that talks to an address.
type speaking struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *spoken
}

func start(t *testing.T, addr string, args ...string) *speaking {
	t.Helper()
	r := &speaking{t: t, cmd: program(args...), stderr: newSpoken()}
	r.cmd.Env = append(r.cmd.Env, "INTERREX_ADDR="+addr)
	r.cmd.Stderr = r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// says waits until the command has said text.
func (r *speaking) says(text string) {
	r.t.Helper()
	if !r.stderr.waitFor(text) {
		_ = r.cmd.Process.Kill()
		r.t.Fatalf("%q never says %q, but: %s", r.cmd.Args, text, r.stderr)
	}
}

// want waits for the end.
func (r *speaking) want(code int) {
	r.t.Helper()
	late := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	defer late.Stop()
	if got := codeOf(r.cmd.Wait()); got != code {
		r.t.Errorf("%q: exit code %d, not %d; it says: %s", r.cmd.Args, got, code, r.stderr)
	}
}

// refusing returns an address at which nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// mute returns an address that accepts connections and never responds.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String()
}

func TestACommandSaysWhichAgentItWaitsFor(t *testing.T) {
	t.Parallel()
	dead, silent := refusing(t), mute(t)
	for addr, why := range map[string]string{
		dead: dead + ": connection refused; is an agent running?", silent: silent + ": no answer; is an agent running?",
		silent + "," + dead: silent + ": no answer; " + dead + ": connection refused; is an agent running?",
	} {
		var all []*speaking
		for _, args := range []string{
			"lease get a", "lease list", "lease claim a", "lease claim a --wait 10m", "lease claim a --keep", "lease revoke a --force",
			"lock a -- true", "lock a --wait 10m -- true",
		} {
			all = append(all, start(t, addr, append([]string{"--timeout", "1h"}, strings.Fields(args)...)...))
		}
		for _, r := range all {
			r.says("waiting for an agent: no agent answers at " + why)
			if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			r.want(exitSignal + 2)
		}
	}
}

// oneAgents are the commands that ask one agent, once.
var oneAgents = []string{"status", "agent report", "agent config", "agent reload", "agent drain"}

func TestACommandForOneAgentSaysThatItIsSilent(t *testing.T) {
	t.Parallel()
	addr := mute(t)
	silent := "no agent answers at " + addr + ": no answer"
	var all, bounded []*speaking
	for _, command := range oneAgents {
		all = append(all, start(t, addr, append(strings.Fields(command), "--timeout", "1h")...))
		bounded = append(bounded, start(t, addr, append(strings.Fields(command), "--timeout", "1s")...))
	}
	for i, command := range oneAgents {
		all[i].says("waiting for an agent: " + silent)
		_ = all[i].cmd.Process.Kill()
		_ = all[i].cmd.Wait()
		r := bounded[i]
		r.says(": " + silent)
		if code := codeOf(r.cmd.Wait()); code != interrex.ErrTimeout.Exit() && code != interrex.ErrOutcomeUnknown.Exit() {
			t.Errorf("%s: exit code %d", command, code)
		}
	}
	addr = refusing(t)
	for _, command := range oneAgents {
		r := start(t, addr, strings.Fields(command)...)
		r.says("no agent answers at " + addr + ": connection refused; is an agent running?")
		r.want(interrex.ErrUnavailable.Exit())
	}
}

func TestALockIsBoundedWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{refusing(t), mute(t)} {
		start(t, addr, "lock", "a", "--ttl", "24h", "--wait", "0s", "--", "true").want(exitWaitedOut)
		start(t, addr, "lock", "a", "--ttl", "24h", "--wait", "1s", "--", "true").want(exitWaitedOut)
	}
}

func TestAnUnknownOutcomeSaysHowToRepeatTheCommand(t *testing.T) {
	t.Parallel()
	r := start(t, mute(t), "lease", "claim", "a", "--timeout", "1s")
	r.want(interrex.ErrOutcomeUnknown.Exit())
	r.says("repeat the command within 10 minutes with --holder ")
	r.says(" --request-id ")
}

// Another create makes another secret, and there is no flag that repeats the first.
func TestATokenOfUnknownOutcomeSaysWhereToFindIt(t *testing.T) {
	t.Parallel()
	for command, list := range map[string]string{
		"token create --name a --operator": "interrex token list", "join-token create": "interrex join-token list",
	} {
		r := start(t, mute(t), append(strings.Fields(command), "--timeout", "1s")...)
		r.want(interrex.ErrOutcomeUnknown.Exit())
		r.says("'" + list + "' shows whether the token was made")
		if said := r.stderr.String(); strings.Contains(said, "--request-id") {
			t.Errorf("%s: it has no such flag: %s", command, said)
		}
	}
}

func TestAnExtendOfUnknownOutcomeMayBeRepeated(t *testing.T) {
	t.Parallel()
	r := start(t, mute(t), "lease", "extend", "a", "--lease-token", "1", "--timeout", "1s")
	r.want(interrex.ErrOutcomeUnknown.Exit())
	r.says("repeat the command: ")
}

func TestALockOfUnknownOutcomeAdvisesToEndItsOwnLeaseAlone(t *testing.T) {
	t.Parallel()
	said := newSpoken()
	l := &lock{app: &app{messages: said}, key: mustKey("mx"), holder: "box/7/ab"}
	_ = l.ended(interrex.Errorf(interrex.ErrOutcomeUnknown, "no answer"))
	const want = "'interrex lease get default/mx' shows the holder; if that is box/7/ab, 'interrex lease revoke default/mx --force' ends it\n"
	if !strings.HasSuffix(said.String(), want) {
		t.Errorf("it says: %s", said)
	}
}

func TestAClaimThatASignalEndsLeavesTheLine(t *testing.T) {
	b := newBench(t)
	if _, err := b.leases.Claim(t.Context(), interrex.ClaimRequest{Key: mustKey("a"), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		for _, args := range []string{"lease claim a --wait 10m", "lease claim a --wait 10m --keep", "lock a -- true"} {
			r := start(t, "http://"+b.addr, strings.Fields(args)...)
			r.says("waiting for default/a: held by ann")
			if err := r.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			r.want(code)
			l, _, err := b.leases.Get(t.Context(), mustKey("a"), interrex.ReadOptions{})
			if err != nil || l.Holder != "ann" || l.Waiting == nil || *l.Waiting != 0 {
				t.Errorf("%q, %s: %+v, %v", args, sig, l, err)
			}
		}
	}
}

func TestALostLockSaysWhy(t *testing.T) {
	b := newBench(t)
	for why, lose := range map[string]func() error{
		"was revoked by force, and it is not held now": func() error {
			_, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true})
			return err
		},
		`was transferred, and "bob" holds it under token`: func() error {
			l, _, err := b.leases.Get(t.Context(), mustKey("a"), interrex.ReadOptions{})
			if err == nil {
				_, err = b.leases.Transfer(t.Context(), interrex.TransferRequest{Key: mustKey("a"), Token: l.Token, To: "bob"})
			}
			return err
		},
	} {
		l := b.lock("a", "--ttl", "6s", "--", "sh", "-c", "echo up; exec sleep 1000")
		l.line()
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		l.want(exitLost)
		if said := l.stderr.String(); !strings.Contains(said, why) {
			t.Errorf("want %q, it says: %s", why, said)
		}
	}
	l := b.lock("b", "--ttl", "6s", "--", "sh", "-c", "echo up; exec sleep 1000")
	l.line()
	if err := b.agent.end(syscall.SIGKILL); codeOf(err) == 0 {
		t.Fatal(err)
	}
	l.want(exitLost)
	for _, want := range []string{"cannot extend lease ", "its work is told to stop in ", "was not extended in time: unavailable: no agent answers at http://" + b.addr} {
		if said := l.stderr.String(); !strings.Contains(said, want) {
			t.Errorf("want %q, it says: %s", want, said)
		}
	}
}

func TestWhatACommandWaitsForIsSaidWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := newSpoken()
		s := session{app: &app{addr: "127.0.0.1:1", messages: said, timeout: time.Second}}
		looks := []struct{ what, text string }{
			{"", "nothing"}, {"n1", "n1, for 3 s"}, {"n1", "n1, for 8 s"}, {"n2", "n2"}, {"", ""}, {"n2", "n2 again"},
		}
		began, seen := time.Now(), 0
		stop := s.sayWaiting(t.Context(), func(context.Context, session) (what, text string) {
			seen++
			return looks[seen-1].what, looks[seen-1].text
		})
		time.Sleep(firstProbe + time.Duration(len(looks)-1)*nextProbe)
		synctest.Wait()
		stop()
		if took := time.Since(began); seen != len(looks) {
			t.Errorf("%d looks in %s", seen, took)
		}
		want := []string{"waiting for n1, for 3 s", "waiting for n2", "waiting for n2 again", ""}
		if got := strings.Split(said.String(), "\n"); !slices.Equal(got, want) {
			t.Errorf("it said %q", got)
		}
		time.Sleep(nextProbe)
		if seen != len(looks) {
			t.Error("it looks still, after its end")
		}
	})
}

func TestALookAtALeaseSaysHowLongItIsHeld(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 1})
	client := c.Client(0)
	leases, key := client.Leases(), mustKey("app/db")
	look := func() (what, text string) {
		return probeLease(key)(t.Context(), session{client: client, leases: leases})
	}
	if what, text := look(); what != "" || text != "" {
		t.Errorf("of one that is free: %q, %q", what, text)
	}
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	what, text := look()
	if what != won.Lease.Token.String() || !strings.HasPrefix(text, "app/db: held by ann for ") || !strings.HasSuffix(text, " unless it is extended") {
		t.Errorf("of one that is held: %q, %q", what, text)
	}
	if _, err := leases.Pin(t.Context(), interrex.PinRequest{Key: key, Owner: "ops", Reason: "move"}); err != nil {
		t.Fatal(err)
	}
	if again, text := look(); again != what || !strings.HasSuffix(text, ", and pinned by ops") {
		t.Errorf("of one that is pinned: %q, %q", again, text)
	}
}

func TestASignalsEndSaysWhatMayBeLeft(t *testing.T) {
	signalled, cancel := context.WithCancelCause(t.Context())
	cancel(interrupt(syscall.SIGINT))
	unknown := interrex.Errorf(interrex.ErrOutcomeUnknown, "it may be granted")
	for _, end := range []struct {
		ctx       context.Context
		err, want error
		said      string
	}{
		{signalled, nil, nil, ""},
		{signalled, unknown, exit(130), "interrex: " + unknown.Error() + "\n"},
		{signalled, interrex.Errorf(interrex.ErrTimeout, "x"), exit(130), ""},
		{t.Context(), unknown, unknown, ""},
	} {
		said := newSpoken()
		if got := (&app{messages: said}).interrupted(end.ctx, end.err); got != end.want || said.String() != end.said {
			t.Errorf("%v ends with %v, and says %q", end.err, got, said)
		}
	}
}
