package main

import (
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
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

// refusing is an address at which nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// mute is an address at which nobody answers.
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
		if code := codeOf(r.cmd.Wait()); code != interrex.KindTimeout.Numbers().Exit && code != interrex.KindOutcomeUnknown.Numbers().Exit {
			t.Errorf("%s: exit code %d", command, code)
		}
	}
	addr = refusing(t)
	for _, command := range oneAgents {
		r := start(t, addr, strings.Fields(command)...)
		r.says("no agent answers at " + addr + ": connection refused; is an agent running?")
		r.want(interrex.KindUnavailable.Numbers().Exit)
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
	r.want(interrex.KindOutcomeUnknown.Numbers().Exit)
	r.says("repeat the command within 10 minutes with --holder ")
	r.says(" --request-id ")
}

func TestAnExtendOfUnknownOutcomeMayBeRepeated(t *testing.T) {
	t.Parallel()
	r := start(t, mute(t), "lease", "extend", "a", "--lease-token", "1", "--timeout", "1s")
	r.want(interrex.KindOutcomeUnknown.Numbers().Exit)
	r.says("repeat the command: ")
}

func TestALockOfUnknownOutcomeAdvisesToEndItsOwnLeaseAlone(t *testing.T) {
	t.Parallel()
	said := newSpoken()
	l := &lock{app: &app{talk: said}, key: mustKey("mx"), holder: "box/7/ab"}
	_ = l.ended(interrex.Errorf(interrex.KindOutcomeUnknown, "no answer"))
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
	for _, want := range []string{"cannot extend lease ", "its context ends in ", "was not extended in time: unavailable: no agent answers at http://" + b.addr} {
		if said := l.stderr.String(); !strings.Contains(said, want) {
			t.Errorf("want %q, it says: %s", want, said)
		}
	}
}
