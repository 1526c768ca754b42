package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

func newCert(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "cert",
		Short: "Show and renew the certificates of the members",
		Example: `  interrex cert list
  interrex cert renew                              that of the agent that answers
  interrex cert renew n3`,
	})
	c.AddCommand(newCertList(a), newCertRenew(a))
	return c
}

func newCertList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the certificate of every member",
		Long: `Shows the certificate of every member, as the leader last saw it; not those of agents
without raft, which 'interrex doctor' shows there. ISSUER is the pin
of the cluster's CA, or the name of another CA. While the CA is rotated, the phase and
the members that it waits for are printed on standard error.`,
		Example: `  interrex cert list
  interrex cert list -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listCertificates(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func (a *app) listCertificates(ctx context.Context, s session, o interrex.ReadOptions) error {
	all, revision, err := s.client.Members().Certificates(ctx, o)
	if err != nil {
		return err
	}
	o.MinRevision = revision
	now, err := s.client.Members().Rotation(ctx, o)
	if err != nil {
		return err
	}
	if now.Began != 0 {
		a.say("the CA is being rotated: %s", rotationText(now))
	}
	t := table{header: []string{"ID", "ENDS", "SERIAL", "ISSUER", "RENEWAL"}}
	page := certificateList{listing: listing{revision: revision}, rotation: now}
	var ids []string
	for _, m := range all {
		ends, renewing := "-", "-"
		if !m.Ends.IsZero() {
			ends = m.Ends.UTC().Format(time.RFC3339)
		}
		if m.Renewing {
			renewing = "asked for"
		}
		t.rows = append(t.rows, []string{m.ID, ends, cmp.Or(m.Serial, "-"), cmp.Or(m.Issuer, "-"), renewing})
		page.items = append(page.items, wire.Certificate(m))
		ids = append(ids, m.ID)
	}
	return a.print(page, t, ids...)
}

// certificateList is the list of certificates, and the rotation of the CA.
type certificateList struct {
	listing
	rotation interrex.CARotation
}

// MarshalJSON returns {"items":[...],"revision":"N"}, and the rotation if one is under
// way.
func (c certificateList) MarshalJSON() ([]byte, error) {
	text, err := c.listing.MarshalJSON()
	if err != nil || c.rotation.Began == 0 {
		return text, err
	}
	r, err := json.Marshal(struct {
		Began   string            `json:"began"`
		Phase   string            `json:"phase"`
		Next    string            `json:"next,omitempty"`
		Waiting map[string]string `json:"waiting,omitempty"`
		Without []string          `json:"without,omitempty"`
	}{c.rotation.Began.String(), c.rotation.Phase, c.rotation.Next, c.rotation.Waiting, c.rotation.Without})
	return fmt.Appendf(text[:len(text)-1], `,"rotation":%s}`, r), err
}

func newCertRenew(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "renew [ID]",
		Short: "Have a member renew its certificate now",
		Long: `Has a member renew its certificate now: the one with that ID, or the agent that
answers. It does so within a few seconds, with a new key, and without a restart; one
that is off does so when it is back. Members renew their certificates by themselves,
at about two thirds of their life.`,
		Example: `  interrex cert renew
  interrex cert renew n3`,
		Args:              atMostOne("ID"),
		ValidArgsFunction: a.completeFirst(memberIDs),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.renewCertificate(ctx, s, args) })
		},
	}
}

func (a *app) renewCertificate(ctx context.Context, s session, args []string) error {
	if len(args) == 0 {
		status, err := s.client.Status(ctx)
		if err != nil {
			return err
		}
		args = []string{status.GetId()}
	}
	at, err := s.client.Members().RenewCertificate(ctx, args[0])
	if err != nil {
		return err
	}
	return a.done(map[string]any{"id": args[0], "revision": at.String()}, "member %s renews its certificate, as of revision %d", args[0], at)
}
