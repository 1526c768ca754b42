package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/interrex/interrex/internal/testport"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// The race detector sleeps for a second at the end of each process, unless it
// is configured otherwise.
const raceVariable, raceNoSleep = "GORACE", "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "interrex" {
		ignoreNothing()
	}
	testscript.Main(m, map[string]func(){"interrex": main})
}

// ignoreNothing keeps what ignores signals around the tests, such as nohup, from
// the programs that they start.
func ignoreNothing() {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

// answerHook is what webhooks of the scripts call: $HOOK/STATUS answers with that
// status.
func answerHook(w http.ResponseWriter, r *http.Request) {
	status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		status = http.StatusNotFound
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte("said with " + r.Header.Get("X-Mine")))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values["agent"] = new(slot)
			env.Setenv(raceVariable, raceNoSleep)
			hooks := httptest.NewServer(http.HandlerFunc(answerHook))
			env.Defer(hooks.Close)
			env.Setenv("HOOK", hooks.URL)
			port, err := testport.Free(devPorts...)
			env.Setenv("API", "127.0.0.1:"+strconv.Itoa(port))
			env.Setenv("API2", "127.0.0.1:"+strconv.Itoa(port+portStep))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":  scriptAgent,
			"exits":  scriptExits,
			"env-of": scriptEnvOf,
			"until":  scriptUntil,
		},
	})
}

// devPorts are the ports, from its first, that dev takes for three agents.
var devPorts = []int{1, portStep, portStep + 1, 2 * portStep, 2*portStep + 1}

// program is a call of the command line as a real process, without what the
// test's own environment says about agents.
func program(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	c := exec.Command(self)
	c.Args = append([]string{"interrex"}, args...)
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "INTERREX_") {
			c.Env = append(c.Env, line)
		}
	}
	c.Env = append(c.Env, raceVariable+"="+raceNoSleep)
	return c
}

// process is an agent in a process of its own.
type process struct {
	cmd    *exec.Cmd
	log    bytes.Buffer
	exited chan error    // receives its end once
	over   chan struct{} // closed at its end
}

// startProcess starts `interrex ARGS` in a folder and waits until the API at addr is ready.
func startProcess(dir, addr string, args ...string) (*process, error) {
	p := &process{cmd: program(args...), exited: make(chan error, 1), over: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.exited <- p.cmd.Wait()
		close(p.over)
	}()
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		answer, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		select {
		case <-p.exited:
			return nil, errors.New("it ended: " + p.log.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, errors.Join(errors.New("it is not ready"), p.end(syscall.SIGKILL), errors.New(p.log.String()))
}

// end sends a signal and waits for the end.
func (p *process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case err := <-p.exited:
		return err
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return errors.New("it did not end after " + sig.String())
	}
}

// spoken is what a process has said so far.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next word
}

func newSpoken() *spoken { return &spoken{more: make(chan struct{})} }

// Write implements io.Writer.
func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

// String implements fmt.Stringer.
func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// waitFor waits until text was said, and reports whether it was.
func (s *spoken) waitFor(text string) bool {
	late := time.After(patience)
	for {
		s.mu.Lock()
		more, said := s.more, strings.Contains(s.text.String(), text)
		s.mu.Unlock()
		if said {
			return true
		}
		select {
		case <-more:
		case <-late:
			return false
		}
	}
}

// eventually tries until it succeeds.
func eventually(try func() error) (err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	return err
}

// slot is where a script keeps its agent.
type slot struct{ process *process }

// scriptAgent is `agent start ARGS`, which runs an agent on $API with its data
// in $WORK/data, `agent dev ARGS`, `agent stop`, which expects a drain with
// code 0, `agent hup`, and `agent ended TEXT ...`, which expects texts in its log.
func scriptAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: agent start|dev|stop|hup|ended [ARG ...]")
	}
	at := ts.Value("agent").(*slot)
	switch args[0] {
	case "start":
		ts.Setenv("SOCKET", "unix://"+filepath.Join(ts.MkAbs("data"), "interrex.sock"))
		at.start(ts, append([]string{"agent", "run", "--api", ts.Getenv("API"), "--data-dir", ts.MkAbs("data"), "--id", "one"}, args[1:]...))
	case "dev":
		at.start(ts, append([]string{"dev", "--api", ts.Getenv("API")}, args[1:]...))
	case "stop":
		ts.Check(at.process.end(syscall.SIGTERM))
	case "hup":
		ts.Check(at.process.cmd.Process.Signal(syscall.SIGHUP))
	case "ended":
		select {
		case err := <-at.process.exited:
			ts.Check(err)
		case <-time.After(patience):
			ts.Fatalf("the agent has not ended")
		}
		log := at.process.said()
		for _, text := range args[1:] {
			if !strings.Contains(log, text) {
				ts.Fatalf("it did not log %q", text)
			}
		}
	}
}

func (s *slot) start(ts *testscript.TestScript, args []string) {
	p, err := startProcess(ts.Getenv("WORK"), ts.Getenv("API"), args...)
	ts.Check(err)
	s.process = p
	ts.Setenv("INTERREX_ADDR", "http://"+ts.Getenv("API"))
	ts.Defer(func() {
		_ = p.cmd.Process.Kill() // it may have ended long since
		ts.Logf("the agent said:\n%s", p.said())
	})
}

// said is all that the process has printed; it must have been killed.
func (p *process) said() string {
	select {
	case <-p.over:
	case <-time.After(patience):
		return "(it does not end)"
	}
	return p.log.String()
}

// scriptExits is `exits CODE ARGS`: interrex ends with exactly this code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARG ...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := codeOf(ts.Exec("interrex", args[1:]...)); got != want {
		ts.Fatalf("interrex %s: exit code %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

// codeOf is a process's exit code; -1 when it has none.
func codeOf(err error) int {
	var failed *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		return failed.ExitCode()
	}
	return -1
}

// scriptEnvOf is `env-of NAME`: what was printed last becomes a variable.
func scriptEnvOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: env-of NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// scriptUntil is `until ARGS`: interrex is run again until it succeeds.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = ts.Exec("interrex", args...); (err != nil) == neg {
			return
		}
	}
	ts.Fatalf("it is not so: %v", err)
}
