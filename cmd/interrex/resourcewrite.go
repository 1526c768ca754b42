package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newResourceWrite(a *app) *cobra.Command {
	var q interrex.WriteResourceRequest
	var file, version string
	var t interrex.Tenancy
	c := &cobra.Command{
		Use:   "write -f FILE",
		Short: "Create a resource, or replace it",
		Example: `  interrex resource write -f web.yaml
  interrex resource write -f web.yaml --version 17             only if that is stored
  interrex resource read demo.v1.Server web -o yaml | sed s/80/81/ | interrex resource write -f -`,
		Args: arguments(0, "no arguments except -f FILE"),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if file == "" {
				return usageError{errors.New("-f is missing: give the file of the resource, or - for standard input")}
			}
			if q.Resource, err = readResource(c.Context(), file); err != nil {
				return a.interrupted(c.Context(), usageError{err})
			}
			own := &q.Resource.ID.Tenancy
			if own.Partition, err = onlyOne("partition", own.Partition, t.Partition); err != nil {
				return err
			}
			if own.Namespace, err = onlyOne("namespace", own.Namespace, t.Namespace); err != nil {
				return err
			}
			if c.Flags().Changed("version") {
				q.Resource.Version = version
			}
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				answer, err := r.Write(ctx, q)
				if err != nil {
					return err
				}
				return a.printResource(answer.Value)
			})
		},
	}
	c.Annotations = map[string]string{"arguments": resourceForm}
	flags := c.Flags()
	flags.StringVarP(&file, "file", "f", "", "the resource's file; - is standard input")
	_ = c.MarkFlagFilename("file", "yaml", "yml", "json") // the flag is there
	flags.StringVar(&version, "version", "", "the version that is replaced (default the file's); '' if it must not exist")
	flags.StringVar(&t.Partition, "partition", "", "the partition, if the file has none (default \"default\")")
	flags.StringVar(&t.Namespace, "namespace", "", "the namespace, if the file has none (default \"default\")")
	a.requestIDFlag(c)
	return c
}

// onlyOne returns a part of the tenancy from the file or the flag, which must agree.
func onlyOne(what, file, flag string) (string, error) {
	if file != "" && flag != "" && file != flag {
		return "", usageError{fmt.Errorf("--%s is %q, and the file's %s is %q: leave one of them out", what, flag, what, file)}
	}
	return cmp.Or(file, flag), nil
}
