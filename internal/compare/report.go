package compare

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
)

// Report is what one agent has hashed: its state after one entry.
type Report struct {
	At       machine.ComparedEntry   `json:"at"`
	Sections []interrex.StateSection `json:"sections"`
}

// Short returns the beginning of a hash, for people.
func Short(hash string) string { return hash[:min(16, len(hash))] }
