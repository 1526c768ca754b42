package apiserver

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/wire"
)

// Callers are told to go on elsewhere; those of the server's other listeners notice
// nothing.
func TestAListenerThatStopsEndsWhatMayLastLong(t *testing.T) {
	nd := cluster(t, 1)[0]
	closing, closed := context.WithCancel(t.Context())
	other := nd.url
	nd.url = "http://" + nd.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nd.server.Handler().ServeHTTP(w, r.WithContext(admission.WithClosing(r.Context(), closing)))
	}))
	nd.claimed("jobs/busy", "ann")
	unary := make(chan reply, 1)
	go func() { unary <- nd.curl("LeaseService/Claim", `{"key":"jobs/busy","holder":"bob","wait":"3600s"}`) }()
	s, all, w := nd.stream(t.Context(), nd.url), nd.watches(), nd.watch(&interrexv1.WatchRequest{Namespace: "jobs"})
	s.send(waitOp(1, "jobs/busy", "eve", time.Hour))
	all.open(1, 10, &interrexv1.WatchRequest{Since: 1})
	w.expect("lease.present", "jobs/busy")
	w.expect("end_of_snapshot", "")
	events := nd.events(nd.url + "/changes")
	goesOn := nd.events(other + "/changes?since=1")
	nd.waitFor(func() bool { return nd.applier.Waiting(parse("jobs/busy")) == 2 })

	closed()
	if r := <-unary; r.status != 503 || r.kind() != "draining" {
		t.Errorf("unary: %d %s", r.status, r.body)
	}
	if a := s.answers(1)[1]; a.GetError().GetKind() != "draining" {
		t.Errorf("operation: %v", a)
	}
	if _, err := s.conn.Receive(); interrex.KindOf(wire.FromError(err, true)) != interrex.ErrDraining {
		t.Errorf("the stream of operations: %v", err)
	}
	if err := wire.FromError(all.receive(), false); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("the stream of watches: %v", err)
	}
	if w.s.Receive() || interrex.KindOf(wire.FromError(w.s.Err(), false)) != interrex.ErrDraining {
		t.Errorf("watch: %v", w.s.Err())
	}
	if text, err := io.ReadAll(events); err != nil || !strings.Contains(string(text), "event: draining\n") {
		t.Errorf("events: %q, %v", text, err)
	}
	nd.url = other
	nd.claimed("jobs/next", "ann")
	for in := bufio.NewScanner(goesOn); !strings.Contains(in.Text(), "jobs/next"); {
		if !in.Scan() {
			t.Fatalf("the events of another listener end: %v", in.Err())
		}
	}
}

// events returns the server-sent events of a path.
func (nd *node) events(url string) io.Reader {
	nd.t.Helper()
	if !strings.Contains(url, "?") {
		url += "?"
	}
	request, err := http.NewRequestWithContext(nd.t.Context(), http.MethodGet, url+"&kind=lease.claimed", nil)
	nd.must(err)
	request.Header.Set("Accept", "text/event-stream")
	answer, err := nd.http.Do(request)
	nd.must(err)
	nd.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer.Body
}
