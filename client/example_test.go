package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/interrex/interrex"
	embedded "github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// A program that talks to an agent in another process; here, one of its own
// stands for that.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "interrex.sock")
	a, err := embedded.New(embedded.Config{ID: "one", API: config.API{Socket: socket}})
	if err != nil {
		log.Fatal(err)
	}
	if err := a.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer a.Stop(context.Background())

	c, err := client.Dial(ctx, client.Config{Addresses: []string{"unix://" + socket}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	held, err := c.Leases().Hold(ctx, "mine/report", interrex.HoldOptions{TTL: 30 * time.Second})
	if errors.Is(err, interrex.ErrHeld) {
		fmt.Println("somebody else works")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("working under", held.Key()) // until held.Context() ends
	if err := held.Release(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(context.Cause(held.Context()))
	// Output:
	// working under mine/report
	// lease released by its holder
}
