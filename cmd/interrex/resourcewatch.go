package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

func newResourceWatch(a *app) *cobra.Command {
	var q interrex.WatchResourcesRequest
	c := &cobra.Command{
		Use:   "watch TYPE",
		Short: "Print changes of resources as they are committed",
		Example: `  interrex resource watch demo.v1.Server
  interrex resource watch demo.v1.Server --namespace '*' --since 120 -o json`,
		Args: arguments(1, "TYPE"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Type, err = interrex.ParseResourceType(args[0]); err != nil {
				return err
			}
			return a.withLong(c.Context(), func(s session) error {
				w, err := s.client.Resources().Watch(c.Context(), q)
				if err != nil {
					return err
				}
				return follow(c.Context(), a, w, []string{"REVISION", "TIME", "OPERATION", "NAMESPACE", "NAME", "DATA"}, a.resourceEvent)
			})
		},
	}
	tenancyFlags(c, &q.Tenancy, "; '*' for all")
	c.Flags().StringVar(&q.NamePrefix, "prefix", "", "only names with this prefix")
	c.Flags().Uint64Var((*uint64)(&q.Since), "since", 0, "after this revision (default: the current resources first)")
	return c
}

// resourceEvent prints one event of resources.
func (a *app) resourceEvent(e interrex.ResourceEvent) error {
	document := struct {
		Operation string            `json:"operation"`
		Resource  *resourceDocument `json:"resource,omitempty"`
		Revision  interrex.Revision `json:"revision,string"`
		Time      *time.Time        `json:"time,omitempty"`
	}{Operation: e.Operation, Revision: e.Revision}
	end := e.Operation == interrex.EndOfSnapshot
	if !end {
		document.Resource = (*resourceDocument)(&e.Resource)
	}
	if !e.Time.IsZero() {
		document.Time = &e.Time
	}
	begin := []string{e.Revision.String(), stamp(e.Time), e.Operation}
	if end {
		return a.printEvent(document, "", begin...)
	}
	id := e.Resource.ID
	return a.printEvent(document, id.Name, append(begin, id.Tenancy.Partition+"/"+id.Tenancy.Namespace, id.Name, wording.Excerpt(dataText(e.Resource.Data), shownData))...)
}
