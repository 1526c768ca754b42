package featuretests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// A program's next release has a table that the former one lacks: what was there stays.
// There is no way back once the table was used.
func TestATableIsAddedByTheNextReleaseOfAProgram(t *testing.T) {
	dir := t.TempDir()
	run := func(tables ...agent.Table) *agent.Agent {
		t.Helper()
		a, err := agent.New(agent.Config{ID: "n1", DataDir: dir, Tables: tables})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Stop(t.Context()) }) // it may be stopped already
		return a
	}
	stop := func(a *agent.Agent) {
		t.Helper()
		if err := a.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	register := func() (state.Table, api.Service) { return testtable.NewRegister(), api.Service{} }
	a := run()
	won, err := a.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	stop(a)
	a = run(register)
	if _, err := a.Propose(t.Context(), interrex.Proposal{Table: uint16(testtable.RegisterTable), Data: testtable.Set("k", "v", 0)}); err != nil {
		t.Fatal(err)
	}
	l, _, err := a.Leases().Get(t.Context(), won.Lease.Key, interrex.ReadOptions{})
	if err != nil || l.Token != won.Lease.Token {
		t.Errorf("the lease is %+v (%v), and had token %s", l, err, won.Lease.Token)
	}
	stop(a)
	a = run()
	eventually(t, "the former release halts", func() error {
		for _, alarm := range a.Status().Alarms {
			if alarm.Name == "halted" && strings.Contains(alarm.Text, "unknown table 256") {
				return nil
			}
		}
		return fmt.Errorf("it has %+v", a.Status().Alarms)
	})
}
