package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/rotation"
)

func newCA(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "ca",
		Short: "Replace the cluster's CA",
		Example: `  interrex ca rotate
  interrex ca rotate --without n3                  n3 is off, and is not waited for`,
	})
	c.AddCommand(newCARotate(a))
	return c
}

// The limit of a rotation's wait without --timeout, and the pause between two looks.
const (
	rotationLimit = time.Minute
	rotationLook  = 500 * time.Millisecond
)

func newCARotate(a *app) *cobra.Command {
	var without []string
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the cluster's CA with a new one, without a restart",
		Long: `Replaces the cluster's CA and its key, and waits until that is done. No agent is
restarted, and no call fails. The phases are in the log, so that a new leader goes on:

  starting    the leader makes the next CA
  trusting    every member comes to trust it beside the present one
  handing     every voter gets its key
  renewing    it is the cluster's CA: every member gets a certificate of it
  dropping    every member forgets the former CA

A phase waits for every member. One that is off holds it up, and is named here, by
'interrex cert list' and in 'interrex status', until it is back, or left out with
--without: then it comes back with 'interrex agent join' and a token that is made for
it. The command waits for a minute, or --timeout; the rotation goes on without it, and
the same command waits again: it begins no other while one is under way.

Join tokens that were made before phase renewing end then. Callers on other machines
need the new ca.pem, which every agent has in its data directory from phase trusting on,
before phase renewing: to have time for that, leave an agent off until it is copied.`,
		Example: `  interrex ca rotate
  interrex ca rotate --timeout 10m
  interrex ca rotate --without n3 --without n4`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			limit := rotationLimit
			if c.Flags().Changed("timeout") {
				limit = a.timeout
			}
			ctx, cancel := context.WithTimeout(c.Context(), limit)
			defer cancel()
			var began interrex.Revision
			err := a.with(ctx, limit, func(ctx context.Context, s session) (err error) {
				began, err = s.client.Members().RotateCA(ctx, without...)
				return err
			})
			if err != nil {
				return err
			}
			return a.interrupted(c.Context(), a.dial(ctx, true, func(s session) error { return a.awaitRotation(ctx, s, began) }))
		},
	}
	c.Flags().StringSliceVar(&without, "without", nil, "a member that is not waited for; may be repeated")
	_ = c.RegisterFlagCompletionFunc("without", a.completeFirst(memberIDs)) // the flag is there
	return c
}

// awaitRotation shows the phases of the rotation that began at a revision until it ends.
func (a *app) awaitRotation(ctx context.Context, s session, began interrex.Revision) error {
	last := interrex.CARotation{Phase: "starting"}
	said := ""
	for {
		now, err := s.client.Members().Rotation(ctx, interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: began})
		switch {
		case ctx.Err() != nil:
			return unfinished(last)
		case err != nil:
			return err
		case now.Began == 0 || now.Began != began:
			return a.done(map[string]any{"ca": now.CA, "began": began.String()}, "the CA is rotated: it is %s", now.CA)
		}
		last = now
		if what := now.Phase + " " + strings.Join(slices.Sorted(maps.Keys(now.Waiting)), " "); what != said {
			said = what
			a.say("%s", rotationText(now))
		}
		select {
		case <-ctx.Done():
		case <-time.After(rotationLook):
		}
	}
}

// rotationText says how far a rotation has come.
func rotationText(r interrex.CARotation) string {
	text := "phase " + r.Phase
	if len(r.Waiting) > 0 {
		text += ": waiting for " + rotation.Describe(r.Waiting)
	}
	return text
}

// unfinished is the error of a command that has waited long enough.
func unfinished(r interrex.CARotation) error {
	text := "the rotation goes on, in " + rotationText(r)
	for _, id := range slices.Sorted(maps.Keys(r.Waiting)) {
		text += fmt.Sprintf("; start %s, or leave it out with 'interrex ca rotate --without %s'", id, id)
	}
	return fmt.Errorf("%s; run 'interrex ca rotate' again to wait for its end", text)
}
