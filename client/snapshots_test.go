package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/internal/wire"
)

// copier is an agent that sends parts, and then an error or nothing.
type copier struct {
	interrexv1.UnimplementedMaintenanceServiceHandler

	parts [][]byte
	err   error
	asked chan *interrexv1.SaveRequest
}

func (c *copier) Save(_ context.Context, q *connect.Request[interrexv1.SaveRequest], to *connect.ServerStream[interrexv1.SaveResponse]) error {
	select {
	case c.asked <- q.Msg:
	default:
	}
	for i, part := range c.parts {
		m := &interrexv1.SaveResponse{Data: part}
		if i == 0 {
			m.Snapshot = &interrexv1.Snapshot{AgentId: "n7"}
		}
		if err := to.Send(m); err != nil {
			return err
		}
	}
	return c.err
}

// serve starts the copier, and returns its address.
func (c *copier) serve(t *testing.T) string {
	t.Helper()
	c.asked = make(chan *interrexv1.SaveRequest, 1)
	return serveCopies(t, c)
}

func serveCopies(t *testing.T, s interrexv1.MaintenanceServiceHandler) string {
	t.Helper()
	_, h := interrexv1.NewMaintenanceServiceHandler(s)
	at := httptest.NewUnstartedServer(h)
	at.Config.Protocols = new(http.Protocols)
	at.Config.Protocols.SetUnencryptedHTTP2(true)
	at.Start()
	t.Cleanup(at.Close)
	return at.URL
}

// saved saves a snapshot from the agents at some addresses.
func saved(t *testing.T, addresses ...string) (string, interrex.Snapshot, error) {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Addresses: addresses, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b bytes.Buffer
	got, err := c.Snapshots().Save(t.Context(), &b, interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: 7})
	return b.String(), got, err
}

// snapshotFile returns a small snapshot.
func snapshotFile() []byte {
	var b bytes.Buffer
	w := snapfile.NewWriter(&b, snapfile.Header{ClusterID: "c", Index: 5, Term: 2, Revision: 9, Time: int64(time.Minute)})
	_ = w.Begin(snapfile.Section{Name: "state", Version: 1})
	_, _ = w.Write(bytes.Repeat([]byte("content"), 30_000))
	_ = w.Close()
	return b.Bytes()
}

func TestASavedSnapshotIsWhatTheAgentSent(t *testing.T) {
	file := snapshotFile()
	agent := copier{parts: [][]byte{file[:10], file[10:100_000], nil, file[100_000:]}}
	text, got, err := saved(t, agent.serve(t))
	want := interrex.Snapshot{ClusterID: "c", LogIndex: 5, Term: 2, Revision: 9, ClusterTime: time.Minute, AgentID: "n7", MadeAt: got.MadeAt, Bytes: int64(len(file))}
	if err != nil || text != string(file) || got != want {
		t.Errorf("%d bytes, %+v, %v", len(text), got, err)
	}
	if q := <-agent.asked; q.GetConsistency() != interrexv1.Consistency_CONSISTENCY_EVENTUAL || q.GetMinRevision() != 7 {
		t.Errorf("asked %v", q)
	}
}

func TestASnapshotThatIsNotWholeIsAnError(t *testing.T) {
	file := snapshotFile()
	flipped := bytes.Clone(file)
	flipped[70_000] ^= 1
	for name, c := range map[string]struct {
		agent copier
		kind  interrex.Kind
		text  string
	}{
		"cut":      {copier{parts: [][]byte{file[:100_000]}}, interrex.ErrUnavailable, "is not whole: it is cut short, after byte 100000"},
		"damaged":  {copier{parts: [][]byte{flipped}}, interrex.ErrUnavailable, "is not whole: it is damaged"},
		"too long": {copier{parts: [][]byte{file, file}}, interrex.ErrUnavailable, "bytes after its end"},
		"stopping": {copier{parts: [][]byte{file[:100_000]}, err: wire.Error(interrex.Errorf(interrex.ErrDraining, "this agent is stopping"))}, interrex.ErrDraining, "this agent is stopping"},
	} {
		if _, _, err := saved(t, c.agent.serve(t)); interrex.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASaveGoesToAnotherAgentUntilOneBegins(t *testing.T) {
	file := snapshotFile()
	full := copier{err: wire.Error(interrex.Errorf(interrex.ErrDraining, "this agent is stopping"))}
	half := copier{parts: [][]byte{file[:100_000]}}
	whole := copier{parts: [][]byte{file}}
	at := whole.serve(t)
	if text, _, err := saved(t, "127.0.0.1:1", full.serve(t), at); err != nil || text != string(file) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if text, _, err := saved(t, half.serve(t), at); err == nil || len(text) != 100_000 {
		t.Errorf("after one has begun, another goes on: %d bytes, %v", len(text), err)
	}
	removed := copier{err: wire.Error(interrex.Errorf(interrex.ErrRemoved, "it was removed"))}
	if text, _, err := saved(t, removed.serve(t), at); err != nil || text != string(file) {
		t.Errorf("after one that was removed: %d bytes, %v", len(text), err)
	}
	if _, _, err := saved(t, removed.serve(t), removed.serve(t)); interrex.KindOf(err) != interrex.ErrRemoved {
		t.Errorf("where all were removed: %v", err)
	}
	denied := copier{err: wire.Error(interrex.Errorf(interrex.ErrDenied, "only an operator"))}
	if _, _, err := saved(t, denied.serve(t), at); interrex.KindOf(err) != interrex.ErrDenied {
		t.Errorf("a refusal: %v", err)
	}
}

func TestASaveEndsWithWhatTheAgentsHaveSaid(t *testing.T) {
	full := copier{err: wire.Error(interrex.Errorf(interrex.ErrDraining, "this agent is stopping"))}
	for what, addresses := range map[string][]string{
		"no agent answers at http://127.0.0.1:1: ": {"127.0.0.1:1"},
		"this agent is stopping":                   {full.serve(t), "127.0.0.1:1"},
	} {
		if _, _, err := saved(t, addresses...); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q: %v", what, err)
		}
	}
}

// mute is an agent that never begins to send.
type mute struct {
	interrexv1.UnimplementedMaintenanceServiceHandler
	asked atomic.Int64
}

func (m *mute) Save(ctx context.Context, _ *connect.Request[interrexv1.SaveRequest], _ *connect.ServerStream[interrexv1.SaveResponse]) error {
	m.asked.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

func TestASaveDoesNotWaitForAnAgentThatSendsNothing(t *testing.T) {
	var hung mute
	if _, _, err := saved(t, serveCopies(t, &hung)); interrex.KindOf(err) != interrex.ErrUnavailable || !strings.Contains(err.Error(), ": no answer") {
		t.Errorf("of one agent: %v", err)
	}
	file := snapshotFile()
	whole := copier{parts: [][]byte{file}}
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{serveCopies(t, &hung), whole.serve(t)}, Timeout: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := hung.asked.Load()
	var b bytes.Buffer
	if _, err := c.Snapshots().Save(t.Context(), &b, interrex.ReadOptions{}); err != nil || !bytes.Equal(b.Bytes(), file) || hung.asked.Load() != before+1 {
		t.Errorf("%d bytes, %v, after %d requests to the one that hangs", b.Len(), err, hung.asked.Load()-before)
	}
}

// fullDisk takes nothing.
type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func TestAnErrorOfTheWriterIsReturnedAsItIs(t *testing.T) {
	full := errors.New("no space")
	agent := copier{parts: [][]byte{snapshotFile()}}
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{agent.serve(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Snapshots().Save(t.Context(), fullDisk{full}, interrex.ReadOptions{}); err != full {
		t.Errorf("got %v", err)
	}
}

func TestARestoreLeavesMostOfTheTimeToOthers(t *testing.T) {
	const each = 20 * time.Millisecond
	var parts atomic.Int64
	a := startAgent(t)
	a.set(func(a *agent) {
		a.answer = func(op *operation) *interrexv1.Answer {
			if _, is := op.request.(*interrexv1.RestoreRequest); is {
				return answered(&interrexv1.RestoreResponse{Revision: 11})
			}
			parts.Add(1)
			time.Sleep(each) // the work of a slow agent, which the pauses follow
			return answered(&interrexv1.StageResponse{})
		}
	})
	began := time.Now()
	if revision, err := dial(t, client.Config{}, a).Snapshots().Restore(t.Context(), bytes.NewReader(snapshotFile()), nil); err != nil || revision != 11 {
		t.Fatal(revision, err)
	}
	if took, n := time.Since(began), parts.Load(); n < 3 || took < time.Duration(n)*4*each {
		t.Errorf("%d parts that take %s each are sent within %s", n, each, took)
	}
}
