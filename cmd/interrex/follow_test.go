package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testport"
)

// transcript is what a process prints, readable while it runs.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// watching is one watch command.
type watching struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, talk transcript
}

func startWatch(t *testing.T, addr string, args ...string) *watching {
	t.Helper()
	return startProgram(t, append([]string{"lease", "watch", "--addr", addr}, args...)...)
}

// startProgram starts a command that stays.
func startProgram(t *testing.T, args ...string) *watching {
	t.Helper()
	w := &watching{t: t, cmd: program(args...)}
	w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.talk
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill() }) // it may have ended
	return w
}

// shows waits until one of its outputs has a text.
func (w *watching) shows(in *transcript, text string) {
	w.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(in.String(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("it does not say %q, but:\n%s%s", text, w.out.String(), w.talk.String())
		}
	}
}

func (w *watching) ends(code int) {
	w.t.Helper()
	late := time.AfterFunc(patience, func() { _ = w.cmd.Process.Kill() })
	defer late.Stop()
	if got := codeOf(w.cmd.Wait()); got != code {
		w.t.Fatalf("exit code %d, not %d:\n%s%s", got, code, w.out.String(), w.talk.String())
	}
}

func TestAWatchSaysWhatItWaitsForAndEndsAtAnotherCluster(t *testing.T) {
	t.Parallel()
	port, err := testport.Free(devPorts...)
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := "127.0.0.1:"+strconv.Itoa(port), t.TempDir()
	agent := func(data string) *process {
		p, err := startProcess(dir, addr, "agent", "run", "--api", addr, "--data-dir", filepath.Join(dir, data))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.cmd.Process.Kill() // it may have been killed already
			<-p.over
		})
		return p
	}
	const waiting, back = "waiting for an agent: ", "connected: the watch continues\n"
	w := startWatch(t, "http://"+addr, "default/db")
	w.shows(&w.talk, waiting+"http://"+addr+": ")
	w.shows(&w.talk, "connection refused; is an agent running?\n")
	first := agent("first")
	w.shows(&w.talk, back)
	for _, args := range [][]string{{"lease", "claim", "dbx"}, {"lease", "claim", "db", "--ttl", "1h"}} {
		if err := program(append(args, "--addr", "http://"+addr)...).Run(); err != nil {
			t.Fatal(err)
		}
	}
	w.shows(&w.out, "default/db ")
	if line := regexp.MustCompile(`(?m)^\d+ +20\S+Z +lease.claimed +default/db +\S+ +\d+ *$`); !line.MatchString(w.out.String()) {
		t.Errorf("it prints\n%s", w.out.String())
	}
	inJSON := startWatch(t, "http://"+addr, "default/db", "--since", "1", "-o", "json")
	inJSON.shows(&inJSON.out, `,"time":"20`)
	if strings.Contains(w.out.String(), "default/dbx") {
		t.Errorf("a watch of one lease shows another:\n%s", w.out.String())
	}
	if n := strings.Count(w.talk.String(), waiting); n != 1 {
		t.Errorf("it says %d times what it waits for:\n%s", n, w.talk.String())
	}
	if err := first.end(syscall.SIGKILL); codeOf(err) != -1 {
		t.Fatal(err)
	}
	agent("second")
	w.ends(6)
	if said := w.talk.String(); !strings.Contains(said, "other cluster") {
		t.Errorf("it says:\n%s", said)
	}
}

func TestAWatchFromTheFutureEnds(t *testing.T) {
	b := newBench(t)
	w := startWatch(t, "http://"+b.addr, "--since", "999999")
	w.ends(2)
	w.shows(&w.talk, "since 999999 is in the future: the cluster is at revision ")
	for _, args := range [][]string{{"lease", "watch"}, {"resource", "watch", "demo.v1.Server"}, {"kv", "watch"}, {"change", "watch"}} {
		out, err := program(append(args, "--since", "999999", "--addr", "http://"+b.addr)...).Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || len(out) > 0 {
			t.Errorf("%v ends with %v and prints %q", args, err, out)
		}
	}
}

func TestAWatchOfKeysPrintsALineForEachChange(t *testing.T) {
	b := newBench(t)
	kv := func(args ...string) {
		t.Helper()
		if out, err := program(append(append([]string{"kv"}, args...), "--addr", "http://"+b.addr)...).CombinedOutput(); err != nil {
			t.Fatalf("kv %v: %v: %s", args, err, out)
		}
	}
	kv("put", "watched/a", "1")
	w := startProgram(t, "kv", "watch", "watched/", "-o", "json", "--addr", "http://"+b.addr)
	w.shows(&w.out, `"operation":"end_of_snapshot"`)
	kv("put", "watched/a", "2")
	kv("put", "elsewhere", "3")
	kv("delete", "watched/a")
	w.shows(&w.out, `"operation":"delete"`)
	var got []string
	for _, text := range strings.Split(strings.TrimSpace(w.out.String()), "\n") {
		var e struct{ Operation, Key, Value string }
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got = append(got, strings.TrimRight(e.Operation+" "+e.Key+" "+e.Value, " "))
	}
	want := []string{"upsert watched/a 1", "end_of_snapshot", "upsert watched/a 2", "delete watched/a 2"}
	if !slices.Equal(got, want) {
		t.Errorf("it prints %q, want %q", got, want)
	}
}

// line is a watch whose agents come and go.
type line struct {
	interrex.Watch[interrex.LeaseEvent]
	mu    sync.Mutex
	since time.Time
	why   error
}

func (l *line) Disconnected() (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since, l.why
}

func (l *line) set(since time.Time, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since, l.why = since, why
}

func TestAWatchSaysOnceThatItsAgentsCameOrWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said, l, heard := newSpoken(), &line{}, 0
		defer (&app{messages: said}).sayDisconnected(t.Context(), l)()
		next := func(pass time.Duration, want string) {
			t.Helper()
			time.Sleep(pass)
			synctest.Wait()
			all := said.String()
			if got := all[heard:]; got != want {
				t.Errorf("after %s it says %q, want %q", pass, got, want)
			}
			heard = len(all)
		}
		next(time.Minute, "")
		began := time.Now()
		l.set(began, errors.New("unavailable: n1 is gone"))
		next(firstSilence-nextSilence, "")
		next(nextSilence, "waiting for an agent: n1 is gone\n")
		next(time.Minute, "")
		l.set(began, errors.New("unavailable: n1 is back, and n2 is gone"))
		next(nextSilence, "waiting for an agent: n1 is back, and n2 is gone\n")
		l.set(time.Time{}, nil)
		next(nextSilence, "connected: the watch continues\n")
		next(time.Minute, "")
		l.set(time.Now(), errors.New("unavailable: n1 is gone"))
		next(time.Second, "") // a short silence
		l.set(time.Time{}, nil)
		next(time.Minute, "")
	})
}
