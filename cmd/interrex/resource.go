package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
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

// tenancyFlags are the flags of whose a resource is.
func tenancyFlags(c *cobra.Command, t *interrex.Tenancy, usage string) {
	c.Flags().StringVar(&t.Partition, "partition", interrex.DefaultTenancy, "the partition"+usage)
	c.Flags().StringVar(&t.Namespace, "namespace", interrex.DefaultTenancy, "the namespace"+usage)
}

// freshness are the flags of a read of resources.
type freshness struct {
	strong, eventual bool
	options          interrex.ReadOptions
}

func (f *freshness) flags(c *cobra.Command, standard string) {
	c.Flags().BoolVar(&f.strong, "strong", false, "linearizable"+isDefault(standard == "strong"))
	c.Flags().BoolVar(&f.eventual, "eventual", false, "what this agent has now, which may lag"+isDefault(standard == "eventual"))
	c.Flags().Uint64Var((*uint64)(&f.options.MinRevision), "min-revision", 0, "with --eventual: wait until this agent has this revision")
	c.PreRunE = func(*cobra.Command, []string) error {
		if f.strong && f.eventual {
			return usageError{errors.New("--strong and --eventual: leave one of them out")}
		}
		return nil
	}
}

func isDefault(is bool) string {
	if is {
		return " (the default)"
	}
	return ""
}

func (f *freshness) read() interrex.ReadOptions {
	o := f.options
	switch {
	case f.strong:
		o.Consistency = interrex.Strong
	case f.eventual:
		o.Consistency = interrex.Eventual
	}
	return o
}

// typeAndName are the arguments that name a resource: TYPE NAME, or its ID.
func typeAndName(c *cobra.Command, args []string) error {
	if len(args) != 1 || !strings.Contains(args[0], "/") {
		return arguments(2, "TYPE NAME or ID")(c, args)
	}
	for _, flag := range []string{"partition", "namespace"} {
		if c.Flags().Changed(flag) {
			return usageError{fmt.Errorf("--%s goes with TYPE NAME: an ID has it", flag)}
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

// withUID adds what tells one resource from a later one of its name. A request
// needs a group version too, which is not compared.
func withUID(id interrex.ResourceID, uid string) interrex.ResourceID {
	id.UID = uid
	if id.Type.GroupVersion == "" {
		id.Type.GroupVersion = "any"
	}
	return id
}

// readAny reads a resource: without a group version, in whatever one it is stored.
func readAny(ctx context.Context, r interrex.Resources, id interrex.ResourceID, o interrex.ReadOptions) (interrex.Resource, error) {
	if id.Type.GroupVersion != "" {
		found, _, err := r.Read(ctx, id, o)
		return found, err
	}
	if o.Consistency == interrex.Default {
		o.Consistency = interrex.Strong
	}
	// Of the names with this prefix, the one that is asked for comes first.
	page, err := r.List(ctx, interrex.ListResourcesRequest{
		ResourceSelection: interrex.ResourceSelection{Type: id.Type, Tenancy: id.Tenancy, NamePrefix: id.Name}, PageSize: 1, ReadOptions: o,
	})
	if err != nil {
		return interrex.Resource{}, err
	}
	if len(page.Items) == 0 || !page.Items[0].ID.Same(id) {
		return interrex.Resource{}, interrex.Errorf(interrex.KindNotFound, "there is no %s at revision %d", id, page.Revision)
	}
	return page.Items[0], nil
}

// resources runs one command about resources.
func (a *app) resources(c *cobra.Command, do func(context.Context, interrex.Resources) error) error {
	return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return do(ctx, s.client.Resources()) })
}

func newResourceRead(a *app) *cobra.Command {
	var t interrex.Tenancy
	var f freshness
	c := &cobra.Command{
		Use:   "read TYPE NAME | ID",
		Short: "Show a resource",
		Example: `  interrex resource read demo.v1.Server web
  interrex resource read demo.v1.Server web -o yaml > web.yaml
  interrex resource read demo.Server/default/default/web     in any version`,
		Args: typeAndName,
		RunE: func(c *cobra.Command, args []string) error {
			id, err := resourceID(args, t)
			if err != nil {
				return err
			}
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				found, err := readAny(ctx, r, id, f.read())
				if err != nil {
					return err
				}
				return a.printResource(found)
			})
		},
	}
	tenancyFlags(c, &t, "")
	f.flags(c, "strong")
	return c
}

func newResourceDelete(a *app) *cobra.Command {
	var q interrex.DeleteResourceRequest
	var t interrex.Tenancy
	c := &cobra.Command{
		Use:   "delete TYPE NAME | ID",
		Short: "Delete a resource; a missing one is not an error",
		Example: `  interrex resource delete demo.v1.Server web
  interrex resource delete demo.v1.Server web --version 17     only this version`,
		Args: typeAndName,
		RunE: func(c *cobra.Command, args []string) (err error) {
			uid := q.ID.UID
			if q.ID, err = resourceID(args, t); err != nil {
				return err
			}
			q.ID = withUID(q.ID, uid)
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				answer, err := r.Delete(ctx, q)
				if err != nil {
					return err
				}
				document := struct {
					Replayed bool              `json:"replayed"`
					Revision interrex.Revision `json:"revision,string"`
				}{answer.Replayed, answer.Revision}
				return a.print(document, table{
					header: []string{"RESOURCE", "REVISION"},
					rows:   [][]string{{q.ID.String(), answer.Revision.String()}},
				}, q.ID.Name)
			})
		},
	}
	tenancyFlags(c, &t, "")
	c.Flags().Var((*filled)(&q.Version), "version", "only this version (default any)")
	c.Flags().Var((*filled)(&q.ID.UID), "uid", "only the one with this uid (default any)")
	a.requestIDFlag(c)
	return c
}

func newResourceList(a *app) *cobra.Command {
	var q interrex.ListResourcesRequest
	var f freshness
	c := &cobra.Command{
		Use:   "list TYPE",
		Short: "List resources of a kind, in every version, ordered by partition, namespace and name",
		Example: `  interrex resource list demo.v1.Server
  interrex resource list demo.v1.Server --namespace '*' --prefix web-`,
		Args: arguments(1, "TYPE"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Type, err = interrex.ParseResourceType(args[0]); err != nil {
				return err
			}
			q.ReadOptions = f.read()
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				return a.listResources(&q.PageToken, func() (interrex.ResourcePage, error) { return r.List(ctx, q) })
			})
		},
	}
	tenancyFlags(c, &q.Tenancy, "; '*' for all")
	c.Flags().StringVar(&q.NamePrefix, "prefix", "", "only names with this prefix")
	f.flags(c, "eventual")
	return c
}

func newResourceOwned(a *app) *cobra.Command {
	var t interrex.Tenancy
	var f freshness
	var uid string
	c := &cobra.Command{
		Use:   "owned TYPE NAME | ID",
		Short: "List what a resource owns, of any type",
		Example: `  interrex resource owned demo.v1.Rack r1
  interrex resource owned demo.v1.Rack r1 --uid 0A1B...      also after it was deleted`,
		Args: typeAndName,
		RunE: func(c *cobra.Command, args []string) error {
			owner, err := resourceID(args, t)
			if err != nil {
				return err
			}
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				if uid != "" {
					owner = withUID(owner, uid)
				} else {
					found, err := readAny(ctx, r, owner, f.read())
					if errors.Is(err, interrex.ErrNotFound) {
						err = fmt.Errorf("%w; for one that was deleted, give its --uid", err)
					}
					if err != nil {
						return err
					}
					owner = found.ID
				}
				q := interrex.ListOwnedRequest{Owner: owner, ReadOptions: f.read()}
				return a.listResources(&q.PageToken, func() (interrex.ResourcePage, error) { return r.ListByOwner(ctx, q) })
			})
		},
	}
	tenancyFlags(c, &t, "")
	c.Flags().Var((*filled)(&uid), "uid", "the owner's uid (default that of the owner that is there now)")
	f.flags(c, "eventual")
	return c
}

// listResources prints all pages as one.
func (a *app) listResources(token *string, page func() (interrex.ResourcePage, error)) error {
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
