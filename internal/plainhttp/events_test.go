package plainhttp

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// bubble returns a server without agents, for a test with a fake clock, and follows
// its events.
func bubble(t *testing.T, ring *watch.Ring, match ...func(*state.Event) bool) *bufio.Reader {
	return bubbleOf(t, ring, method.NewSwitches(), match...)
}

// bubbleOf is bubble for a service of the setting "x".
func bubbleOf(t *testing.T, ring *watch.Ring, switches *method.Switches, match ...func(*state.Event) bool) *bufio.Reader {
	methods, err := method.NewRegistry("a", nil, switches)
	if err != nil {
		t.Fatal(err)
	}
	s := New(nil, consistency.New(consistency.Config{Ring: ring}), methods, admission.NewCalls(nil), clock.WallClock, time.Minute)
	in, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	var matches func(*state.Event) bool
	if len(match) > 0 {
		matches = match[0]
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer out.Close()
		if err := s.events(pipeWriter{out}, r, eventSource{setting: "x", match: matches, show: func(e *state.Event) (sentEvent, error) { return sentEvent{kind: e.Kind, data: e.Key}, nil }}); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); in.Close(); <-done })
	return bufio.NewReader(in)
}

// pipeWriter is a http.ResponseWriter.
type pipeWriter struct{ io.Writer }

func (pipeWriter) Header() http.Header { return http.Header{} }
func (pipeWriter) WriteHeader(int)     {}
func (pipeWriter) Flush()              {}

func TestAStreamOfEventsThatIsIdleBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := watch.New(watch.Config{})
		defer ring.Close()
		in := bubble(t, ring)
		began := time.Now()
		for n := range 3 {
			if line, err := in.ReadString('\n'); err != nil || line != ": nothing\n" || time.Since(began) != time.Duration(n+1)*heartbeat {
				t.Fatalf("after %s: %q, %v", time.Since(began), line, err)
			}
			_, _ = in.ReadString('\n')
		}
		ring.Publish([]state.Event{{Revision: 7, Kind: "user", Key: "k", Size: 1}}, 7)
		if line, _ := in.ReadString('\n'); line != "id: 7\n" {
			t.Errorf("%q", line)
		}
	})
}

func TestAStreamThatMatchesNothingSaysHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := watch.New(watch.Config{})
		defer ring.Close()
		in := bubble(t, ring, func(e *state.Event) bool { return e.Kind == "b" })
		ring.Publish([]state.Event{{Revision: 7, Kind: "a", Size: 1}}, 7)
		for _, want := range []string{": nothing\n", "id: 7\n", "\n", ": nothing\n", "\n"} {
			if line, err := in.ReadString('\n'); err != nil || line != want {
				t.Errorf("%q, %v, want %q", line, err, want)
			}
		}
	})
}

func TestTheLastEventOfARevisionHasItsId(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := watch.New(watch.Config{})
		in := bubble(t, ring)
		synctest.Wait()
		ring.Publish([]state.Event{{Revision: 1, Kind: "a", Size: 1}, {Revision: 1, Kind: "b", Size: 1}, {Revision: 2, Kind: "c", Size: 1}}, 2)
		synctest.Wait()
		ring.Close()
		text, err := io.ReadAll(in)
		if got := regexp.MustCompile(`(id|event): (\w+)`).FindAllString(string(text), 5); err != nil || strings.Join(got, " ") != "event: a id: 1 event: b id: 2 event: c" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAStreamOfEventsEndsWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := watch.New(watch.Config{MaxEvents: 10})
		in := bubble(t, ring)
		synctest.Wait()
		for i := 1; i <= 100; i++ { // while its reader takes nothing
			ring.Publish([]state.Event{{Revision: interrex.Revision(i), Kind: "user", Size: 1}}, interrex.Revision(i))
			synctest.Wait()
		}
		text, err := io.ReadAll(in)
		if err != nil || !strings.Contains(string(text), "event: compacted\ndata: {\"error\":\"compacted: ") || !strings.Contains(string(text), `,"first":`) || !strings.HasPrefix(string(text), "id: 1\n") {
			t.Errorf("%s, %v", text, err)
		}
		ring.Close()
	})
}

func TestAnAnswerOfChangesCopiesNoData(t *testing.T) {
	c := plainChange{ID: 1, Tags: []string{}, data: `"` + strings.Repeat("x", 1<<20) + `"`}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		out := bufio.NewWriter(io.Discard)
		if err := writePage(out, []plainChange{c}, change.Page{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 256<<10 {
		t.Errorf("%d bytes for each", n)
	}
}

func TestAStreamOfEventsEndsAtOnceWhenItsServiceIsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, switches := watch.New(watch.Config{}), method.NewSwitches()
		defer ring.Close()
		in := bubbleOf(t, ring, switches)
		synctest.Wait()
		began := time.Now()
		switches.Switch("y", false)
		synctest.Wait()
		switches.Switch("x", false)
		text, err := io.ReadAll(in)
		if err != nil || time.Since(began) != 0 || !strings.Contains(string(text), "event: disabled\n") {
			t.Errorf("after %v: %q, %v", time.Since(began), text, err)
		}
	})
}
