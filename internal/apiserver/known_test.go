package apiserver

import (
	"errors"
	"sync/atomic"
	"testing"
)

// An agent that has not applied its log does not know the first token.
func TestWhoMayUseTheAPIIsKnownOnceTheAgentWasReady(t *testing.T) {
	var behind atomic.Bool
	behind.Store(true)
	nd := cluster(t, 1, func(c *Config) {
		c.Ready = func() []Check {
			if behind.Load() {
				return []Check{{Name: "log", Err: errors.New("behind")}}
			}
			return nil
		}
	})[0]
	known := nd.server.knowsTokens()
	if known() {
		t.Error("it is known while the log is behind")
	}
	behind.Store(false)
	nd.waitFor(known)
	behind.Store(true)
	if !known() {
		t.Error("it is forgotten")
	}
}
