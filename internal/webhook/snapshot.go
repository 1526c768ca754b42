package webhook

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// view is the frozen content.
type view struct{ hooks []*Hook }

// Freeze returns a view of the current list.
func (t *Table) Freeze() state.View { return &view{t.Hooks()} }

// Release drops the content.
func (v *view) Release() { v.hooks = nil }

// Write writes the hooks by name, with their secrets.
func (v *view) Write(w io.Writer) error {
	b := binary.AppendUvarint(nil, uint64(len(v.hooks)))
	for _, h := range v.hooks {
		b = appendHook(b, h)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("cannot write webhooks: %w", err)
	}
	return nil
}

// maxSnapshot is more than the bytes of all hooks.
const maxSnapshot = 4 << 20

// Restore replaces the table by what a View wrote. After an error the table is
// as it was.
func (t *Table) Restore(version uint16, r io.Reader) error {
	hooks, err := t.read(version, r)
	if err == nil {
		t.hooks.Store(&hooks)
	}
	return err
}

// Stage is part of machine.Replacer.
func (t *Table) Stage(version uint16, r io.Reader) (any, error) { return t.read(version, r) }

// Replace is part of machine.Replacer. Each hook goes on where it was when it was saved.
func (t *Table) Replace(_ *state.Turn, staged any, _ state.Time) {
	hooks := staged.([]*Hook)
	t.hooks.Store(&hooks)
}

func (t *Table) read(version uint16, r io.Reader) ([]*Hook, error) {
	if version != t.Version() {
		return nil, fmt.Errorf("cannot restore webhooks: unknown version %d, this build reads version %d", version, t.Version())
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err != nil {
		return nil, fmt.Errorf("cannot restore webhooks: %w", err)
	}
	d := newDecoder(string(b))
	hooks := []*Hook{}
	for n := d.count(limits.MaxWebhooks); n > 0; n-- {
		h := d.hook()
		if d.Failed() {
			break
		}
		if err := (&Set{Spec: h.Spec, Secret: h.Secret}).Validate(); err != nil {
			return nil, fmt.Errorf("cannot restore webhooks: %w", err)
		}
		if last := len(hooks) - 1; last >= 0 && hooks[last].Name >= h.Name {
			return nil, fmt.Errorf("cannot restore webhooks: %q is out of order", h.Name)
		}
		hooks = append(hooks, h)
	}
	if !d.Done() {
		return nil, fmt.Errorf("cannot restore webhooks: an item is malformed")
	}
	return hooks, nil
}
