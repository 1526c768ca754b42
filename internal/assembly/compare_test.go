package assembly

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/compare"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/sections"
)

// An older member would stop at the entry of a comparison.
func TestNothingIsComparedBeforeAllMembersCan(t *testing.T) {
	known := map[string]peering.Hello{"b": {Entries: machine.EntryVersion}, "old": {Entries: byte(new(machine.Compare).About().Since) - 1}}
	peer := func(id string) (peering.Hello, bool) {
		said, met := known[id]
		return said, met
	}
	for _, c := range []struct {
		members []string
		can     bool
	}{{[]string{"a", "b"}, true}, {[]string{"a", "b", "old"}, false}, {[]string{"a", "b", "unmet"}, false}} {
		if can := allCompare(founding.Members(c.members...).Servers, "a", peer); can != c.can {
			t.Errorf("%v: %t", c.members, can)
		}
	}
}

func TestNobodyReadsACondemnedState(t *testing.T) {
	s := &Set{comparisons: compare.NewBoard(clock.WallClock)}
	why := errors.New("it is wrong")
	s.comparisons.Condemn(why, "")
	if err := s.quarantined(); !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestComparisonsAreAsTheConfigurationSays(t *testing.T) {
	c := config.Config{}.WithDefaults()
	s := &Set{configuration: sections.New(c)}
	if on, every, revisions := s.comparisonSchedule(); !on || every != 10*time.Minute || revisions != 1_000_000 {
		t.Errorf("by default: %t, %v, %d", on, every, revisions)
	}
	c.Compare = config.Compare{Enabled: config.Off, Every: time.Second, Revisions: 7}
	s.configuration.Swap(c)
	if on, every, revisions := s.comparisonSchedule(); on || every != time.Second || revisions != 7 {
		t.Errorf("after a reload: %t, %v, %d", on, every, revisions)
	}
}

func TestAWorkerEndsWithWhatItIsFor(t *testing.T) {
	condemned := make(chan struct{})
	f := endedBy(condemned, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	close(condemned)
	if err := f(t.Context()); err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := endedBy(nil, func(ctx context.Context) error { return ctx.Err() })(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
