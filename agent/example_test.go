package agent_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
)

// A program that embeds an agent, and does its work while it holds a lease.
func Example() {
	ctx := context.Background()
	registry := prometheus.NewRegistry()
	a, err := agent.New(agent.Config{ // no DataDir: in memory
		ID: "one", Logger: agent.Slog(slog.Default()), Registry: registry,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := a.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer a.Stop(context.Background()) // drains
	err = a.Leases().Run(ctx, "mine/leader", interrex.HoldOptions{TTL: 10 * time.Second},
		func(ctx context.Context, held interrex.Held) error {
			// ctx ends before anyone else can win.
			fmt.Println("working under", held.Key())
			return interrex.ErrStopCampaign // without it, Run campaigns again
		})
	fmt.Println(err)
	// Output:
	// working under mine/leader
	// <nil>
}
