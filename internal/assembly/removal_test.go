package assembly

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/testworker"
)

// Nobody may be there to say it again.
func TestAnAgentThatWasRemovedStaysOutWhenItIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		if err := running[*datadir.Dir](w.Set, identityName).NoteRemoval(); err != nil {
			t.Fatal(err)
		}
		testworker.Stop(t, w.engine)
		again := newWorld(t, func(c *AgentConfig) { c.DataDir = w.config.Agent.DataDir })
		time.Sleep(time.Minute)
		if again.removal.Err() == nil || again.view().Running() != nil {
			t.Errorf("it takes part again: %v", again.removal.Err())
		}
		testworker.Stop(t, again.engine)
	})
}
