package apiserver

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/method"
)

// requestsOf returns the answered requests by method and code; series without any are
// left out.
func requestsOf(t *testing.T, m *method.Metrics) map[string]uint64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]uint64{}
	for _, series := range families[0].GetMetric() {
		labels := map[string]string{}
		for _, l := range series.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if n := series.GetHistogram().GetSampleCount(); n > 0 {
			found[labels["method"]+" "+labels["code"]] = n
		}
	}
	return found
}

func TestRequestsAreTimedByMethodAndCode(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.curl("LeaseService/Claim", `{"key":"jobs/a","holder":"ann"}`)
	nd.curl("LeaseService/Claim", `{"key":"jobs/a","holder":"bob"}`)
	nd.curl("LeaseService/Get", `{"key":"jobs/b"}`)
	nd.curl("EngineService/Status", `{}`)
	nd.curl("EngineService/Reload", `{}`)
	s := nd.stream(t.Context(), nd.url)
	s.send(claimOp(1, "jobs/c", "ann"), claimOp(2, "jobs/a", "bob"), getOp(3, "jobs/a"), op(4, interrexv1.LeaseServicePinProcedure, &interrexv1.PinRequest{}),
		&interrexv1.Operation{Id: 5, Method: 9999})
	s.answers(5)
	got := requestsOf(t, nd.server.config.Requests)
	for series, want := range map[string]uint64{
		"interrex.v1.LeaseService/Claim ok": 2, "interrex.v1.LeaseService/Claim aborted": 2,
		"interrex.v1.LeaseService/Get ok": 1, "interrex.v1.LeaseService/Get not_found": 1,
		"interrex.v1.LeaseService/Pin invalid_argument": 1, "interrex.v1.EngineService/Status ok": 1,
		"interrex.v1.EngineService/Reload unimplemented": 1,
	} {
		if got[series] != want {
			t.Errorf("%s: %d, want %d", series, got[series], want)
		}
		delete(got, series)
	}
	if len(got) > 0 {
		t.Errorf("beside them: %v", got)
	}
}

func TestARequestTakesItsTime(t *testing.T) {
	m := method.NewMetrics()
	nd := cluster(t, 1, func(c *Config) { c.Requests = m })[0]
	nd.curl("LeaseService/Claim", `{"key":"jobs/a","holder":"ann"}`)
	nd.curl("EngineService/Status", `{}`)
	s := nd.stream(t.Context(), nd.url)
	s.send(getOp(1, "jobs/a"))
	s.answers(1)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	nd.must(err)
	counted := 0
	for _, series := range families[0].GetMetric() {
		h := series.GetHistogram()
		if counted += int(h.GetSampleCount()); h.GetSampleCount() > 0 && h.GetSampleSum() <= 0 {
			t.Errorf("no time: %v", series)
		}
	}
	if counted != 3 {
		t.Errorf("%d requests are counted", counted)
	}
}

func TestARequestIsTimedByTheAgentThatItsCallerAsks(t *testing.T) {
	l, f := follower(t, cluster(t, 3))
	f.curl("LeaseService/Claim", `{"key":"jobs/a","holder":"ann"}`)
	s := f.stream(t.Context(), f.url)
	s.send(claimOp(1, "jobs/b", "ann"), getOp(2, "jobs/a"))
	s.answers(2)
	if got := requestsOf(t, f.server.config.Requests); got["interrex.v1.LeaseService/Claim ok"] != 2 || got["interrex.v1.LeaseService/Get ok"] != 1 {
		t.Errorf("the follower has %v", got)
	}
	if got := requestsOf(t, l.server.config.Requests); len(got) > 0 {
		t.Errorf("the leader has %v", got)
	}
}

// BenchmarkRequestIsTimed measures the cost of recording an answer in the metrics.
func BenchmarkRequestIsTimed(b *testing.B) {
	share := method.NewMetrics().Latency(interrexv1.LeaseServiceExtendProcedure)
	b.ReportAllocs()
	for b.Loop() {
		share.Answered(700*time.Microsecond, nil)
	}
}
