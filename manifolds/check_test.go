package manifolds

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
)

// unfit are configurations that only the workers of their sections see the
// fault of, by a word of what is said.
var unfit = map[string]func(*config.Config){
	"ElectionTimeout": func(c *config.Config) {
		c.Raft.HeartbeatTimeout, c.Raft.ElectionTimeout = 2*time.Second, time.Second
	},
	"LeaderLeaseTimeout": func(c *config.Config) { c.Raft.LeaderLeaseTimeout = 5 * time.Second },
	"logging.config":     func(c *config.Config) { c.Logging.Config = "<root>=LOUD" },
}

func TestWhatAWorkerWouldRefuseIsRefusedBefore(t *testing.T) {
	for word, spoil := range unfit {
		c := config.Default()
		spoil(&c)
		a := FromFile(c)
		a.Notify.LeaseHolders = config.NotifyOff
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
	}
}

func TestReloadOfWhatAWorkerWouldRefuseChangesNothing(t *testing.T) {
	for word, spoil := range unfit {
		next := config.Default()
		set, err := New(Config{Agent: AgentConfig{Load: func() (config.Config, error) { return next, nil }}})
		if err != nil {
			t.Fatal(err)
		}
		spoil(&next)
		_, changed := set.Configuration.Current()
		if _, err := set.Reload(); !errors.Is(err, interrex.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
		select {
		case <-changed:
			t.Errorf("%s: it was taken up", word)
		default:
		}
	}
}
