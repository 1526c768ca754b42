package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wording"
)

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

func (a *app) getSettings(ctx context.Context, s session, name string, o interrex.ReadOptions) error {
	all, revision, err := s.client.Settings(ctx, o)
	if err != nil {
		return err
	}
	if name != "" {
		one := slices.IndexFunc(all, func(v interrex.Setting) bool { return v.Name == name })
		if one < 0 {
			return noSuchSetting(name, all)
		}
		all = all[one : one+1]
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

// noSuchSetting returns the error for a name that no setting has.
func noSuchSetting(name string, all []interrex.Setting) error {
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	hint := ""
	if near := wording.Nearest(name, names); near != "" {
		hint = fmt.Sprintf(" did you mean %s?", near)
	}
	return interrex.Errorf(interrex.ErrNotFound, "there is no setting %q:%s 'interrex settings get' lists the names", name, hint)
}
