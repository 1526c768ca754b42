package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newLease(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "lease",
		Short: "Claim, keep and end leases",
		Example: `  interrex lease claim db --ttl 30s
  interrex lease extend db --lease-token 17
  interrex lease list
  interrex lease watch -o json`,
	})
	c.AddCommand(newClaim(a), newExtend(a), newRevoke(a), newTransfer(a), newPin(a), newUnpin(a),
		newGet(a), newList(a), newHistory(a), newDiff(a), newWatch(a), newExplain(a))
	return c
}

// tokenFlag adds --lease-token; readToken reads it, or the environment.
func tokenFlag(c *cobra.Command, text *string) {
	c.Flags().StringVar(text, "lease-token", "", "the lease's token (default $INTERREX_LEASE_TOKEN)")
}

func readToken(text string) (interrex.Token, error) {
	text = cmp.Or(text, os.Getenv("INTERREX_LEASE_TOKEN"))
	if text == "" {
		return 0, usageError{errors.New("--lease-token is missing, and $INTERREX_LEASE_TOKEN is not set: give the token that the claim returned")}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("--lease-token (or $INTERREX_LEASE_TOKEN): %q is not a token: give a number above 0", text)}
	}
	return interrex.Token(n), nil
}

// namespaceOrKey reads the argument of a command about all leases, those of a
// namespace, or one.
func namespaceOrKey(args []string, prefix string) (namespace string, key interrex.Key, err error) {
	text := strings.Join(args, "")
	if !strings.Contains(text, "/") {
		return text, key, nil
	}
	if namespace, is := strings.CutSuffix(text, "/"); is && namespace != "" && !strings.Contains(namespace, "/") {
		return "", key, usageError{fmt.Errorf("%q has no name: for the leases of the namespace %s leave the / out", text, namespace)}
	}
	if prefix != "" {
		return "", key, usageError{fmt.Errorf("--prefix is for the leases of a namespace, and %q is one lease: leave one of them out", text)}
	}
	key, err = interrex.ParseKey(text)
	return "", key, err
}

// write runs one write that returns a lease, and prints it.
func (a *app) write(ctx context.Context, do func(context.Context, interrex.Leases) (interrex.LeaseAnswer, error)) error {
	return a.with(ctx, a.timeout, func(ctx context.Context, s session) error {
		answer, err := do(ctx, s.leases)
		if err != nil {
			return err
		}
		return a.printLease(answer.Lease)
	})
}
