package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

func newSettings(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "settings",
		Short: "The replicated limits, the same on every agent",
		Example: `  interrex settings get
  interrex settings set requests.record-age 30m`,
	})
	c.AddCommand(newSettingsGet(a), newSettingsSet(a))
	return c
}

func newSettingsGet(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "get [NAME]",
		Short: "Show the settings, or one of them",
		Example: `  interrex settings get
  interrex settings get requests.names -q          only the value`,
		Args:              atMostOne("NAME"),
		ValidArgsFunction: a.completeFirst(settingNames),
		RunE: func(c *cobra.Command, args []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				return a.getSettings(ctx, s, strings.Join(args, ""), o)
			})
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

// settingNames are for the completion of a NAME.
func settingNames(ctx context.Context, s session) (names []string, err error) {
	all, _, err := client.Settings(ctx, s.client, interrex.ReadOptions{Consistency: interrex.Eventual})
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, err
}

func (a *app) getSettings(ctx context.Context, s session, name string, o interrex.ReadOptions) error {
	all, revision, err := client.Settings(ctx, s.client, o)
	if err != nil {
		return err
	}
	if name != "" {
		all = slices.DeleteFunc(all, func(v interrex.Setting) bool { return v.Name != name })
	}
	if name != "" && len(all) == 0 {
		return interrex.Errorf(interrex.KindNotFound, "setting %q: there is no such name: 'interrex settings get' lists them", name)
	}
	t := table{header: []string{"NAME", "VALUE", "DEFAULT", "ABOUT"}}
	page := listing{revision: revision}
	var names []string
	for _, v := range all {
		t.rows = append(t.rows, []string{v.Name, v.Value, v.Default, v.About})
		page.items = append(page.items, proto.Message(&interrexv1.Setting{Name: v.Name, Value: v.Value, Default: v.Default, About: v.About}))
		names = append(names, v.Name)
	}
	if name != "" {
		names = []string{all[0].Value}
	}
	return a.print(page, t, names...)
}

func newSettingsSet(a *app) *cobra.Command {
	var standard bool
	c := &cobra.Command{
		Use:   "set NAME VALUE",
		Short: "Set one of them, on every agent",
		Example: `  interrex settings set requests.record-age 30m
  interrex settings set requests.record-age --default`,
		Args: func(c *cobra.Command, args []string) error {
			if standard {
				return arguments(1, "NAME")(c, args)
			}
			return arguments(2, "NAME VALUE")(c, args)
		},
		ValidArgsFunction: a.completeFirst(settingNames),
		RunE: func(c *cobra.Command, args []string) error {
			value := strings.Join(args[1:], "")
			if value == "" && !standard {
				return usageError{errors.New("VALUE is empty: give one, or --default")}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				at, err := client.SetSettings(ctx, s.client, map[string]string{args[0]: value})
				if err != nil {
					return err
				}
				return a.done(map[string]any{"name": args[0], "revision": at.String()}, "%s is %s", args[0], cmp.Or(value, "its default"))
			})
		},
	}
	c.Flags().BoolVar(&standard, "default", false, "go back to the default")
	return c
}
