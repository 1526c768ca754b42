package lease

import (
	"fmt"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

func TestTheHistoryHasALimitInBytes(t *testing.T) {
	var h history
	turn := &state.Turn{}
	l := &row{holder: strings.Repeat("x", 256)}
	for n := range 16_000 {
		l.key = join(interrex.Key{Namespace: "jobs", Name: fmt.Sprint(n)})
		for range historyLines {
			turn.Next()
			h.add(turn, l, interrex.EndTakenOver)
		}
	}
	sum := 0
	h.byKey.Scan(func(_ string, p *past) bool { sum += p.weight(); return true })
	if _, kept := h.byKey.Get(join(interrex.Key{Namespace: "jobs", Name: "0"})); kept || sum != h.bytes || sum > historyBytes || sum < historyBytes-8<<10 {
		t.Errorf("it has %d bytes and counts %d; the first one is kept: %v", sum, h.bytes, kept)
	}
}
