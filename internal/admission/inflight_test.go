package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fairshare"
)

// used returns what is in flight of a kind.
func used(f *InFlight, label string) (u fairshare.Use) {
	for l, one := range f.Uses {
		if l == label {
			u = one
		}
	}
	return u
}

func TestEachKindHasItsOwnLimit(t *testing.T) {
	c := NewCalls(NewInFlight(16)) // of which one caller may have four
	for _, k := range []Kind{Brief, Extend, Lasting, Watch} {
		for range 4 {
			if err := c.Enter(k, "flood"); err != nil {
				t.Fatal(err)
			}
		}
		err := c.Enter(k, "flood")
		if interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) <= 0 || !strings.Contains(err.Error(), inFlight[k].text+" at this agent") {
			t.Errorf("one more: %v, to be retried after %v", err, interrex.RetryAfter(err))
		}
		if err := c.Enter(k, "good"); err != nil {
			t.Errorf("another caller: %v", err)
		}
		c.Leave(k, "flood", 2)
		if u := used(c.InFlight, inFlight[k].label); u.Used != 3 || u.Refused != 1 || c.Enter(k, "flood") != nil {
			t.Errorf("used is %+v, and what has ended is not free", u)
		}
	}
}

func TestWhatIsInFlightIsMeasured(t *testing.T) {
	f, all := NewInFlight(4), prometheus.NewRegistry()
	all.MustRegister(f)
	for range 3 {
		_ = f.Take(Watch, "ann", 1) // of which the first fits
	}
	families, err := all.Gather()
	if err != nil || len(families) != 2 {
		t.Fatalf("%d metrics, %v", len(families), err)
	}
	for i, want := range []float64{1, 2} {
		for _, m := range families[i].GetMetric() {
			if got := m.GetGauge().GetValue() + m.GetCounter().GetValue(); (got == want) != (m.GetLabel()[0].GetValue() == "watches") {
				t.Errorf("%s of %s is %v", families[i].GetName(), m.GetLabel()[0].GetValue(), got)
			}
		}
	}
}

// What was refused is not open: a drain does not wait for it.
func TestADrainDoesNotWaitForWhatWasRefused(t *testing.T) {
	c := NewCalls(NewInFlight(1))
	if err := c.Enter(Brief, "ann"); interrex.KindOf(err) != interrex.ErrOverloaded {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// A request that calls a method is one call.
func TestACallWithinACallCountsOnce(t *testing.T) {
	c := NewCalls(nil)
	ctx, end, err := c.Begin(WithCaller(t.Context(), Caller{Name: "ann"}), Lasting)
	if err != nil {
		t.Fatal(err)
	}
	_, within, err := c.Begin(ctx, Brief)
	if u := used(c.InFlight, "waits"); err != nil || u.Used != 1 || u.Most != "ann" || used(c.InFlight, "calls").Used != 0 {
		t.Errorf("used is %+v, %v", u, err)
	}
	within()
	end()
	if u := used(c.InFlight, "waits"); u.Used != 0 || c.Drain(t.Context()) != nil {
		t.Errorf("afterwards %+v", u)
	}
}

func TestAStreamIsInFlightUntilItEnds(t *testing.T) {
	f := NewInFlight(4) // of which one caller may have one
	serve := func(depth int) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		var handle http.HandlerFunc
		ask := func(ctx context.Context) {
			r := httptest.NewRequest("POST", "/interrex.v1.StreamService/Operate", nil).WithContext(ctx)
			r.Header.Set("Content-Type", "application/json")
			f.Handler(Lasting, handle).ServeHTTP(w, r)
		}
		handle = func(_ http.ResponseWriter, r *http.Request) {
			if depth--; depth > 0 {
				ask(r.Context())
			}
		}
		ask(WithCaller(t.Context(), Caller{Name: "ann"}))
		return w
	}
	if w := serve(1); w.Code != 200 {
		t.Errorf("the first: %d %s", w.Code, w.Body)
	}
	if w := serve(2); w.Code != 429 || !strings.Contains(w.Body.String(), "as one caller may have") {
		t.Errorf("one within it: %d %s", w.Code, w.Body)
	}
	if u := used(f, "waits"); u.Used != 0 {
		t.Errorf("in the end %+v", u)
	}
}
