// Command counters is a program with an agent and its own table inside: it counts
// how many times it was started.
//
//	go run ./examples/counters/cmd -data-dir /var/lib/mine
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/examples/counters"
)

func main() {
	dataDir := flag.String("data-dir", "", "where the agent keeps its log; empty: in memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	n, err := count(ctx, *dataDir)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("started %d times\n", n)
}

// count counts one more start, and returns the total.
func count(ctx context.Context, dataDir string) (uint64, error) {
	a, err := agent.New(agent.Config{
		DataDir: dataDir, // "" = in memory
		Tables:  []agent.Table{counters.Table},
		Logger:  agent.Slog(slog.Default()),
	})
	if err != nil {
		return 0, err
	}
	if err := a.Start(ctx); err != nil {
		return 0, err
	}
	defer a.Stop(context.Background()) // drains
	starts := counters.Increment{Key: interrex.Key{Namespace: "mine", Name: "starts"}, By: 1}
	answer, err := counters.Client{By: a}.Increment(ctx, starts, client.Options{})
	return answer.Counter.Value, err
}
