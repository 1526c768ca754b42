package raftlog

import (
	"cmp"
	"fmt"
)

// Position is the position of an entry, or of the end of a log. Positions compare
// by term first, as raft compares the ends of logs.
type Position struct {
	Term, Index uint64
}

// Compare is negative when p is behind o.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(p.Term, o.Term), cmp.Compare(p.Index, o.Index))
}

// Reaches reports whether p is at or past o.
func (p Position) Reaches(o Position) bool { return p.Compare(o) >= 0 }

func (p Position) String() string {
	if p == (Position{}) {
		return "index 0"
	}
	return fmt.Sprintf("index %d of term %d", p.Index, p.Term)
}

// Later returns the later of two positions.
func Later(a, b Position) Position {
	if a.Reaches(b) {
		return a
	}
	return b
}

// Floor is the last position that this agent has stored, and the term in which it
// stored it.
type Floor struct {
	Position
	Since uint64 // term in which it was stored
}

// Knows reports whether the floor was written after a term in which a position was
// learned, or is at or past that position.
func (f Floor) Knows(p Position, in uint64) bool { return in < f.Since || f.Reaches(p) }
