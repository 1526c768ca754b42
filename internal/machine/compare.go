package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/state"
)

// Compare is the operation at which every replica freezes its state, so that replicas
// can be compared: see Config.Frozen. It changes nothing and takes no revision. Its
// Reply is the ComparedEntry.
type Compare struct{}

// sinceCompare is the version of entries from which on the log has Compare.
const sinceCompare = 5

// ComparedEntry is the log entry after which states are compared.
type ComparedEntry struct{ Index, Term uint64 }

// About is part of Command.
func (c *Compare) About() state.About {
	return state.About{Name: "compare", Privileged: true, Since: sinceCompare}
}

// Validate is part of Command.
func (c *Compare) Validate() error { return nil }

// Append is part of Command.
func (c *Compare) Append(b []byte) []byte { return append(b, commandVersion, commandCompare) }

func (c *Compare) decode(args []byte) error {
	if len(args) > 0 {
		return interrex.Errorf(interrex.ErrInvalid, "compare: it has %d bytes, and takes none", len(args))
	}
	return nil
}

func (c *Compare) check(*system, *state.Turn, *state.Operation) error { return nil }

func (c *Compare) apply(s *State, _ *state.Turn, _ *state.Operation) (state.Reply, error) {
	s.compared = true
	return s.present, nil
}

// uncompared is an optional interface of a table that takes no part in comparisons of
// replicas, since it cannot be frozen at no cost.
type uncompared interface{ Uncompared() }

// Frozen is the state as it was after an entry with a Compare.
type Frozen struct {
	Entry    ComparedEntry
	Revision interrex.Revision
	view     *snapshot
}

// compare hands the state after an entry to the one who compares it. The locks are held.
func (s *State) compare(m *moment) {
	if s.frozen == nil {
		return
	}
	var tables tableSet
	for _, t := range s.tables {
		if _, is := t.(uncompared); !is {
			tables = append(tables, t)
		}
	}
	s.frozen(&Frozen{Entry: ComparedEntry{m.index, m.term}, Revision: m.revision, view: s.view(m, tables)})
}

// hashStep is how many bytes are hashed between two calls of a step.
const hashStep = 64 << 10

// Hashes reads the frozen state, section by section in the order of the tables; the
// state's own section is the first. It calls step after each 64 KiB: the error is
// step's, or why a table cannot be read.
func (f *Frozen) Hashes(step func() error) ([]interrex.StateSection, error) {
	var all []interrex.StateSection
	in := &stepping{step: step}
	err := f.view.each(func(s snapfile.Section, write func(io.Writer) error) error {
		h := sha256.New()
		in.to = h
		if err := write(in); err != nil {
			return err
		}
		all = append(all, interrex.StateSection{Name: s.Name, Version: s.Version, Hash: hex.EncodeToString(h.Sum(nil))})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot hash the state at log index %d: %w", f.Entry.Index, err)
	}
	return all, nil
}

// Release must be called once.
func (f *Frozen) Release() { f.view.Release() }

// stepping is a writer that calls step after some bytes.
type stepping struct {
	to   io.Writer
	step func() error
	n    int // bytes since then
}

func (w *stepping) Write(b []byte) (int, error) {
	if w.n += len(b); w.n >= hashStep {
		w.n = 0
		if err := w.step(); err != nil {
			return 0, err
		}
	}
	return w.to.Write(b)
}
