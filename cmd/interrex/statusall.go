package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/interrex/interrex/gen/interrexv1"
)

// agentStatus is the status of one agent, or why it did not respond.
type agentStatus struct {
	id, address string
	status      *interrexv1.StatusResponse
	err         error
}

// MarshalJSON returns the status, or {"id":...,"api_address":...,"error":...}.
func (s agentStatus) MarshalJSON() ([]byte, error) {
	if s.err != nil {
		return json.Marshal(map[string]string{"id": s.id, "api_address": s.address, "error": s.err.Error()})
	}
	return jsonOf(s.status)
}

// statusOfAll queries every member that the first response names.
func (a *app) statusOfAll(ctx context.Context, first *interrexv1.StatusResponse) error {
	all := []agentStatus{{id: first.GetId(), status: first}}
	for _, m := range first.GetMembers() {
		if m.GetId() != first.GetId() {
			all = append(all, agentStatus{id: m.GetId(), address: m.GetApiAddress()})
		}
	}
	var queries sync.WaitGroup
	for i := range all[1:] {
		s := &all[1+i]
		queries.Go(func() {
			s.status, s.err = a.statusAt(ctx, s.address)
			if s.err == nil && (s.status.GetId() != s.id || inOtherClusters(s.status, first)) {
				s.err = fmt.Errorf("agent %[3]s of cluster %[4]s responds at %[1]s, the address that %[2]s announces: set api.listen or api.advertise of %[2]s to an address that can be reached from here",
					s.address, s.id, s.status.GetId(), cmp.Or(s.status.GetClusterId(), "none"))
			}
		})
	}
	queries.Wait()
	var names []string
	allWell := true
	for _, s := range all {
		names = append(names, s.id)
		allWell = allWell && s.err == nil && well(s.status)
	}
	if err := a.print(map[string]any{"items": all}, tableOfAll(all), names...); err != nil {
		return err
	}
	return unless(allWell)
}

// inOtherClusters reports whether two agents know that they are in different clusters.
func inOtherClusters(a, b *interrexv1.StatusResponse) bool {
	return a.GetClusterId() != b.GetClusterId() && a.GetClusterId() != "" && b.GetClusterId() != ""
}

// oneAgent bounds the query of one of several agents, so that those that respond
// are shown.
const oneAgent = 3 * time.Second

func (a *app) statusAt(ctx context.Context, address string) (m *interrexv1.StatusResponse, err error) {
	var failed []error
	if address == "" {
		return nil, errors.New("it announces no API address that can be reached from here: set its api.listen or api.advertise")
	}
	schemes := []string{"http://", "https://"}
	if os.Getenv("INTERREX_CACERT") != "" || strings.Contains(cmp.Or(a.addr, os.Getenv("INTERREX_ADDR")), "https://") {
		slices.Reverse(schemes)
	}
	// Each agent decides by itself whether its API speaks TLS.
	for _, scheme := range schemes {
		m, err = a.statusOf(ctx, scheme+address)
		if err == nil {
			return m, nil
		}
		failed = append(failed, err)
	}
	return nil, failed[0]
}

// statusOf queries the agent at one address, within oneAgent.
func (a *app) statusOf(ctx context.Context, address string) (m *interrexv1.StatusResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, oneAgent)
	defer cancel()
	there := *a
	there.addr = address
	err = there.dial(ctx, true, func(s session) error {
		m, err = s.client.Status(ctx)
		return err
	})
	return m, err
}

func tableOfAll(all []agentStatus) table {
	t := table{header: []string{"AGENT", "STATE", "LEADER", "TERM", "REVISION", "UP", "ALARMS"}}
	var alarms [][]string
	for _, s := range all {
		if s.err != nil {
			t.rows = append(t.rows, []string{s.id, "no response", "-", "-", "-", "-", "-"})
			alarms = append(alarms, []string{s.id, s.err.Error()})
			continue
		}
		m := s.status
		t.rows = append(t.rows, []string{
			s.id, m.GetState() + ready(m), cmp.Or(m.GetLeaderId(), "none"), fmt.Sprint(m.GetTerm()),
			fmt.Sprint(m.GetRevision()), upFor(m), fmt.Sprint(len(m.GetAlarms())),
		})
		for _, row := range alarmRows(m) {
			alarms = append(alarms, []string{s.id, strings.Join(row, ": ")})
		}
	}
	t.notes = alarms
	return t
}
