package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

func newResource(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "resource",
		Short: "Read, write and watch resources",
		Example: `  interrex resource write -f web.yaml
  interrex resource read demo.v1.Server web -o yaml
  interrex resource list demo.v1.Server --namespace '*'
  interrex resource watch demo.v1.Server -o json`,
	})
	c.AddCommand(newResourceRead(a), newResourceWrite(a), newResourceDelete(a),
		newResourceList(a), newResourceOwned(a), newResourceWatch(a))
	return c
}

// resources runs one command about resources.
func (a *app) resources(c *cobra.Command, do func(context.Context, interrex.Resources) error) error {
	return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return do(ctx, s.client.Resources()) })
}

// tenancyFlags adds --partition and --namespace.
func tenancyFlags(c *cobra.Command, t *interrex.Tenancy, usage string) {
	c.Flags().StringVar(&t.Partition, "partition", limits.DefaultNamespace, "the partition"+usage)
	c.Flags().StringVar(&t.Namespace, "namespace", limits.DefaultNamespace, "the namespace"+usage)
}

// typeAndName requires the arguments that name a resource: TYPE NAME, or its ID.
func typeAndName(c *cobra.Command, args []string) error {
	if len(args) != 1 || !strings.Contains(args[0], "/") {
		return arguments(2, "TYPE NAME or ID")(c, args)
	}
	for _, flag := range []string{"partition", "namespace"} {
		if c.Flags().Changed(flag) {
			return usageError{fmt.Errorf("--%s goes with TYPE NAME: an ID contains it, leave the flag out", flag)}
		}
	}
	return nil
}

// resourceID reads TYPE and NAME, or an ID, which has no group version.
func resourceID(args []string, t interrex.Tenancy) (interrex.ResourceID, error) {
	if len(args) == 1 {
		return interrex.ParseResourceKey(args[0])
	}
	typ, err := interrex.ParseResourceType(args[0])
	if err != nil {
		return interrex.ResourceID{}, err
	}
	id := interrex.ResourceID{Type: typ, Tenancy: t, Name: args[1]}.WithDefaults()
	return id, id.Validate()
}

// withUID adds the UID, which distinguishes a resource from a later one of the same
// name. A request also needs a group version, which is not compared.
func withUID(id interrex.ResourceID, uid string) interrex.ResourceID {
	id.UID = uid
	if id.Type.GroupVersion == "" {
		id.Type.GroupVersion = "any"
	}
	return id
}

// readAny reads a resource; without a group version, in the one that is stored.
func readAny(ctx context.Context, r interrex.Resources, id interrex.ResourceID, o interrex.ReadOptions) (interrex.Resource, error) {
	if id.Type.GroupVersion != "" {
		found, _, err := r.Read(ctx, id, o)
		return found, err
	}
	if o.Consistency == interrex.Default {
		o.Consistency = interrex.Strong
	}
	// Of the names with this prefix, the requested one comes first.
	page, err := r.List(ctx, interrex.ListResourcesRequest{
		ResourceSelection: interrex.ResourceSelection{Type: id.Type, Tenancy: id.Tenancy, NamePrefix: id.Name}, PageSize: 1, ReadOptions: o,
	})
	if err != nil {
		return interrex.Resource{}, err
	}
	if len(page.Items) == 0 || !page.Items[0].ID.Same(id) {
		return interrex.Resource{}, interrex.Errorf(interrex.ErrNotFound, "there is no %s at revision %d", id, page.Revision)
	}
	return page.Items[0], nil
}

// listResources prints all pages as one list.
func (a *app) listResources(token *string, page func() (interrex.Page[interrex.Resource], error)) error {
	var all []interrex.Resource
	for {
		p, err := page()
		if err != nil {
			return err
		}
		all = append(all, p.Items...)
		if *token = p.NextPageToken; *token == "" {
			return a.printResources(all, p.Revision)
		}
	}
}
