package admission

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/gen/interrexv1"
)

// connection records the deadlines that are set.
type connection struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (c *connection) SetReadDeadline(at time.Time) error {
	c.read = append(c.read, at)
	return nil
}

func (c *connection) SetWriteDeadline(at time.Time) error {
	c.write = append(c.write, at)
	return nil
}

const bodyWait, sendWait = 10 * time.Second, 3 * time.Second

// request passes a request through Limited to a handler.
func request(procedure, contentType, body string, handle http.HandlerFunc) *connection {
	c := &connection{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, procedure, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	Limited(bodyWait, sendWait, handle).ServeHTTP(c, r)
	return c
}

func TestBodyAndAnswerHaveATimeUnlessTheyAreStreams(t *testing.T) {
	for _, test := range []struct {
		procedure, contentType string
		body, answer           bool // it is limited
	}{
		{interrexv1.LeaseServiceClaimProcedure, "application/json", true, true},
		{interrexv1.LeaseServiceClaimProcedure, "application/grpc", true, true},
		{interrexv1.LeaseServiceWatchProcedure, "application/connect+json", true, false},
		{interrexv1.LeaseServiceWatchProcedure, "application/json", true, true},
		{interrexv1.StreamServiceOperateProcedure, "application/grpc", false, false},
		{"/nothing", "application/grpc", true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			c := request(test.procedure, test.contentType, "body", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				for _, write := range []func(){
					func() { _, _ = w.Write([]byte("a")) },
					func() { _, _ = io.WriteString(w, "b") },
				} {
					time.Sleep(time.Second)
					write()
				}
			})
			var read, write []time.Time
			if test.body {
				read = []time.Time{begun.Add(bodyWait), {}} // none once it is complete
			}
			if test.answer {
				write = []time.Time{begun.Add(time.Second + sendWait), begun.Add(2*time.Second + sendWait)}
			}
			if !equal(c.read, read) || !equal(c.write, write) || c.Body.String() != "ab" {
				t.Errorf("%s %s: deadlines %v and %v, want %v and %v", test.contentType, test.procedure, c.read, c.write, read, write)
			}
		})
	}
}

func equal(a, b []time.Time) bool {
	for i := range a {
		if len(a) != len(b) || !a[i].Equal(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestABodyThatIsNotCompleteKeepsItsDeadline(t *testing.T) {
	c := request("/kv/a", "", "body", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 2))
	})
	if len(c.read) != 1 || c.read[0].IsZero() {
		t.Errorf("deadlines %v", c.read)
	}
}

func TestASenderLimitsEachMessageAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := request("/kv", "", "", func(w http.ResponseWriter, r *http.Request) {
			w = Unlimited(w)
			send := Sender(r.Context(), clock.WallClock, sendWait)
			for range 3 {
				_ = send(func() error {
					time.Sleep(sendWait - 1)
					_, err := io.WriteString(w, ".")
					return err
				})
				if err := send(func() error { return io.ErrClosedPipe }); err != io.ErrClosedPipe {
					t.Errorf("a message that fails: %v", err)
				}
			}
			time.Sleep(2 * sendWait) // between messages nothing is limited
		})
		if len(c.write) > 0 || c.Body.String() != "..." {
			t.Fatalf("a message in time has a deadline: %v", c.write)
		}
		c = request("/kv", "", "", func(_ http.ResponseWriter, r *http.Request) {
			_ = Sender(r.Context(), clock.WallClock, sendWait)(func() error {
				time.Sleep(sendWait)
				synctest.Wait()
				return nil
			})
		})
		if len(c.write) != 1 || c.write[0].After(time.Now()) {
			t.Errorf("a message that is not accepted goes on: %v", c.write)
		}
	})
}

func TestReadingCanBeStopped(t *testing.T) {
	c := request(interrexv1.StreamServiceOperateProcedure, "application/grpc", "body", func(_ http.ResponseWriter, r *http.Request) {
		if !StopReading(r.Context()) {
			t.Error("it was not stopped")
		}
	})
	if len(c.read) != 1 || c.read[0].IsZero() || c.read[0].After(time.Now()) {
		t.Errorf("deadlines %v", c.read)
	}
	if StopReading(context.Background()) {
		t.Error("there is nothing to stop")
	}
	failed := io.ErrClosedPipe
	if err := Sender(context.Background(), clock.WallClock, sendWait)(func() error { return failed }); err != failed {
		t.Errorf("without a connection a message is not sent: %v", err)
	}
}
