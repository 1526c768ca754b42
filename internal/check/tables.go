package check

import (
	"fmt"
	"slices"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/state"
)

// Tables reports what is wrong with an embedder's own tables, beside those of interrex.
func Tables(makers []func() (state.Table, api.Service), interrex []state.Table) error {
	tables, served, err := made(makers)
	if err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	if err := (machine.Config{Tables: slices.Concat(interrex, tables)}).Validate(); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	if err := services.Validate(served...); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	for i, t := range tables {
		if err := served[i].Validate(t.ID()); err != nil {
			return fmt.Errorf("tables: the service of table %q: %w", t.Name(), err)
		}
	}
	return nil
}

// made makes the tables and their services.
func made(makers []func() (state.Table, api.Service)) (tables []state.Table, served []method.Service, err error) {
	for i, make := range makers {
		if make == nil {
			return nil, nil, fmt.Errorf("number %d is nil", i)
		}
		t, service := make()
		if t != nil && t.ID() < state.FirstEmbedderTable {
			return nil, nil, fmt.Errorf("table %q has the ID %d: an embedder's own begin at %d", t.Name(), t.ID(), state.FirstEmbedderTable)
		}
		tables, served = append(tables, t), append(served, method.ServiceOf(service))
	}
	return tables, served, nil
}
