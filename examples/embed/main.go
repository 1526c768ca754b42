// Command embed is a program with an agent inside: it reconciles while it leads.
// It is the shortest such program.
//
//	go run ./examples/embed                        one agent, in memory
//	go run ./examples/embed -data-dir /var/lib/mine
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
)

func main() {
	dataDir := flag.String("data-dir", "", "where the agent keeps its log; empty: in memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dataDir, reconcile); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// run runs work while this program leads, until ctx ends.
func run(ctx context.Context, dataDir string, work func(context.Context, interrex.Token) error) error {
	a, err := agent.New(agent.Config{
		DataDir: dataDir, // "" = in memory
		// Cluster: config.Cluster{Listen: ":7401", Join: peers, BootstrapExpect: 3,
		//	TLS: config.TLSFiles{CA: "ca.pem", Cert: "me.pem", Key: "me.key"}},
		Logger: agent.Slog(slog.Default()),
	})
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	defer a.Stop(context.Background()) // drains
	return a.Leases().Run(ctx, "mine/leader", interrex.HoldOptions{TTL: 10 * time.Second},
		func(ctx context.Context, held interrex.Held) error {
			return work(ctx, held.Token()) // ctx ends before anyone else can win
		})
}

// reconcile is this program's work: it continues until ctx ends, and passes the
// token to everything that it writes to.
func reconcile(ctx context.Context, token interrex.Token) error {
	fmt.Printf("leading under token %s\n", token)
	<-ctx.Done()
	return ctx.Err()
}
