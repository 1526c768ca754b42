package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

func newKVWatch(a *app) *cobra.Command {
	var namespace string
	var since interrex.Revision
	c := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "Print changes of keys as they are committed",
		Example: `  interrex kv watch config/
  interrex kv watch --since 120 -o json`,
		Args: atMostOne("PREFIX"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withLong(c.Context(), func(s session) error {
				w, err := client.KV{By: s.client, Namespace: namespace}.Watch(c.Context(), strings.Join(args, ""), since)
				if err != nil {
					return err
				}
				all := namespace == interrex.Wildcard
				return follow(c.Context(), a, w, valueEventHeader(all), func(e interrex.ResourceEvent) error { return a.valueEvent(e, all) })
			})
		},
	}
	namespaceFlag(c, &namespace, "; '*' for all")
	c.Flags().Uint64Var((*uint64)(&since), "since", 0, "after this revision (default: the current keys first)")
	return c
}

func valueEventHeader(all bool) []string {
	return slices.Concat([]string{"REVISION", "TIME", "OPERATION"}, keyCells(all, "NAMESPACE", "KEY"), []string{"VALUE"})
}

// valueEvent prints one event of keys.
func (a *app) valueEvent(e interrex.ResourceEvent, all bool) error {
	document := struct {
		Operation string `json:"operation"`
		*valueDocument
		Revision interrex.Revision `json:"revision,string"`
		Time     *time.Time        `json:"time,omitempty"`
	}{Operation: e.Operation, Revision: e.Revision}
	if !e.Time.IsZero() {
		document.Time = &e.Time
	}
	begin := []string{e.Revision.String(), stamp(e.Time), e.Operation}
	if e.Operation == interrex.EndOfSnapshot {
		return a.printEvent(document, "", begin...)
	}
	v, err := client.ValueOf(e.Resource)
	if err != nil {
		return err
	}
	d := documentOf(v)
	document.valueDocument = &d
	return a.printEvent(document, v.Key, slices.Concat(begin, keyCells(all, v.Namespace, v.Key), []string{onLine(v.Value)})...)
}
