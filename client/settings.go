package client

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Settings returns the replicated settings by name, and the revision at which
// they were read.
func (c Calls) Settings(ctx context.Context, o interrex.ReadOptions) ([]interrex.Setting, interrex.Revision, error) {
	m, err := Call[interrexv1.GetSettingsRequest, interrexv1.GetSettingsResponse](ctx, c.by, interrexv1.StateServiceGetSettingsProcedure,
		&interrexv1.GetSettingsRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}, Options{})
	var all []interrex.Setting
	for _, s := range m.GetItems() {
		all = append(all, interrex.Setting{Name: s.GetName(), Value: s.GetValue(), Default: s.GetDefault(), About: s.GetAbout()})
	}
	return all, interrex.Revision(m.GetRevision()), err
}

// SetSettings sets replicated settings atomically; an empty value restores the
// default. It is for operators. A name that no table has, or a value that is not
// allowed, is ErrInvalid.
func (c Calls) SetSettings(ctx context.Context, values map[string]string) (interrex.Revision, error) {
	m, err := Call[interrexv1.SetSettingsRequest, interrexv1.SetSettingsResponse](ctx, c.by, interrexv1.StateServiceSetSettingsProcedure,
		&interrexv1.SetSettingsRequest{Values: values}, Options{})
	return interrex.Revision(m.GetRevision()), err
}

// Settings returns the replicated settings: see Calls.Settings.
func (c *Client) Settings(ctx context.Context, o interrex.ReadOptions) ([]interrex.Setting, interrex.Revision, error) {
	return Through(c).Settings(ctx, o)
}

// SetSettings sets replicated settings: see Calls.SetSettings.
func (c *Client) SetSettings(ctx context.Context, values map[string]string) (interrex.Revision, error) {
	return Through(c).SetSettings(ctx, values)
}
