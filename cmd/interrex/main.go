// Command interrex runs agents and speaks to them. It owns flags, printing and
// exit codes, and links the SQL drivers. Each command is in a file of its name:
// `interrex lease claim` is in leaseclaim.go, what all commands of leases share in
// lease.go.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/interrex/interrex/internal/limits"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code. The first INT or TERM ends the command's context,
// which ends it politely; the second ends the process.
func run(args []string) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	root := newRoot(os.Stdout, os.Stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code, text := exitCode(err)
	if text != "" {
		fmt.Fprintln(os.Stderr, "interrex: "+limits.Escaped(text, "\n\t"))
	}
	return code
}
