package agent

import (
	"log/slog"

	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/manifolds"
)

// Config is what an agent is made of; see manifolds.AgentConfig. An agent with
// a data directory and nothing else is a cluster of one.
type Config = manifolds.AgentConfig

// The sections of a Config.
type (
	APIConfig      = config.API
	ClusterConfig  = config.Cluster
	RaftConfig     = config.Raft
	FeaturesConfig = config.Features
	NotifyConfig   = config.Notify
	LoggingConfig  = config.Logging
	TLSFiles       = config.TLSFiles
	APITLS         = config.APITLS
)

// Table makes an embedder's own table: see manifolds.Table.
type Table = manifolds.Table

// FSM is a state machine of the embedder's own: see interrex.FSM.
type FSM = interrex.FSM

// FSMCommand is a command to it: see interrex.FSMCommand.
type FSMCommand = interrex.FSMCommand

// Slog makes Config.Logger out of a slog.Logger.
func Slog(to *slog.Logger) *loggo.Context { return manifolds.Slog(to) }
