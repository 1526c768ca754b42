package compare

import (
	"encoding/hex"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Report is what one agent has hashed: its state after one entry.
type Report struct {
	At       state.ComparedEntry     `json:"at"`
	Sections []interrex.StateSection `json:"sections"`
}

// newReport returns the report of an agent's own hashes.
func newReport(at state.ComparedEntry, hashes []state.SectionHash) Report {
	r := Report{At: at}
	for _, h := range hashes {
		r.Sections = append(r.Sections, interrex.StateSection{Name: h.Section, Version: h.Version, Hash: hex.EncodeToString(h.Hash[:])})
	}
	return r
}

// Short returns the beginning of a hash, for people.
func Short(hash string) string { return hash[:min(16, len(hash))] }
