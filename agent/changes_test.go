package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/interrextest"
)

// A long poll is longer than what a client waits for other answers.
func TestALongPollIsAskedForOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	a := interrextest.Start(t, agent.Config{Registry: registry})
	appended, err := a.Changes().Append(t.Context(), interrex.AppendRequest{Data: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p, err := a.Changes().List(t.Context(), interrex.ListChangesRequest{Since: appended.Revision, Block: 4 * time.Second})
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

func TestWhatIsNoNumberOrConsistencyIsRefused(t *testing.T) {
	a := interrextest.Start(t, agent.Config{})
	ctx, weird := t.Context(), interrex.ReadOptions{Consistency: 17}
	kind := interrex.ResourceType{Group: "a", Kind: "b"}
	for what, call := range map[string]func() error{
		"limit: -1 is not allowed": func() error {
			_, err := a.Changes().List(ctx, interrex.ListChangesRequest{Limit: -1})
			return err
		},
		"limit: 4294967296 is not allowed": func() error {
			_, err := a.Changes().List(ctx, interrex.ListChangesRequest{Limit: 1 << 32})
			return err
		},
		"block: -1s is negative": func() error {
			_, err := a.Changes().List(ctx, interrex.ListChangesRequest{Block: -time.Second})
			return err
		},
		"page_size: -1 is not allowed": func() error {
			_, err := a.Leases().List(ctx, interrex.ListRequest{PageSize: -1})
			return err
		},
		"page_size: -2 is not allowed": func() error {
			_, err := a.Resources().List(ctx, interrex.ListResourcesRequest{ResourceSelection: interrex.ResourceSelection{Type: kind}, PageSize: -2})
			return err
		},
		"page_size: -3 is not allowed": func() error {
			_, err := a.Resources().ListByOwner(ctx, interrex.ListOwnedRequest{PageSize: -3})
			return err
		},
		"consistency: -1 is not one of": func() error {
			_, err := a.Leases().List(ctx, interrex.ListRequest{ReadOptions: weird})
			return err
		},
	} {
		if err := call(); interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q, got %v", what, err)
		}
	}
}

func TestTheFeedIsAskedForWhatOnesOwnMachineDid(t *testing.T) {
	a := interrextest.Start(t, agent.Config{FSM: new(faults).machine})
	if _, err := a.Propose(t.Context(), interrex.Proposal{Data: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	kinds := []string{fsm.Applied}
	p, err := a.Changes().List(t.Context(), interrex.ListChangesRequest{ChangeFilter: interrex.ChangeFilter{Kinds: kinds}})
	if err != nil || len(p.Items) != 1 || p.Items[0].Kind != fsm.Applied {
		t.Errorf("%+v, %v", p, err)
	}
	hook := interrex.Webhook{Name: "told", URL: "http://127.0.0.1:1/", When: interrex.WebhookAfter, Kinds: kinds}
	if _, err := a.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: hook}); err != nil {
		t.Error(err)
	}
	hook.When = interrex.WebhookBefore
	if _, err := a.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: hook}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("before: %v", err)
	}
}
