package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// A long poll is longer than what a client waits for other answers.
func TestALongPollIsAskedForOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	a := interrextest.Start(t, agent.Config{Registry: registry})
	if _, err := a.Changes().Append(t.Context(), interrex.AppendRequest{Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p, err := a.Changes().List(t.Context(), interrex.ListChangesRequest{Since: 2, Block: 4 * time.Second})
	if took := time.Since(began); err != nil || len(p.Items) > 0 || took < 4*time.Second {
		t.Errorf("%+v, %v after %v", p, err, took)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	asked := uint64(0)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "interrex_api_request_duration_seconds" && l.GetName() == "method" && strings.HasSuffix(l.GetValue(), "ChangeService/List") {
					asked += m.GetHistogram().GetSampleCount()
				}
			}
		}
	}
	if asked != 1 {
		t.Errorf("it was asked for %d times", asked)
	}
}
