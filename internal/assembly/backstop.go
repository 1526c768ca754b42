package assembly

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/recovery"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/raftworker/backstop"
)

const (
	// commandTimeout bounds the call of backstop.command for one member.
	commandTimeout = 30 * time.Second
	// maxSaid is how much of that command's output is in an error.
	maxSaid = 500
)

// backstopSection is the backstop's part of the configuration.
type backstopSection struct {
	on bool
	config.Backstop
}

func pickBackstop(c config.Config) backstopSection {
	return backstopSection{c.Features.Backstop.On(), c.Backstop}
}

// startBackstop watches whether the cluster is to be recovered from this agent.
func (s *Set) startBackstop(u *unit.Unit) (worker.Worker, error) {
	section, now := unit.Need[backstopSection](u, backstopConfigName), unit.Need[clock.Clock](u, ClockName)
	dir, t := unit.Need[*datadir.Dir](u, identityName), unit.Need[*peering.Transport](u, TransportName)
	switch failed := s.recovery.failure(); {
	case u.Err != nil:
		return nil, u.Err
	case !section.on:
		return nil, errOff
	case failed != nil:
		return nil, fmt.Errorf("a recovery has failed: %w: %w", failed, dependency.ErrMissing)
	}
	c := backstop.Config{
		ID: dir.ID, Look: s.lookForBackstop, Recover: s.recovery.order, Clock: now, Logger: s.logger("backstop"),
		Wanted: func() []string { return section.Members },
		Absent: func(ctx context.Context) error {
			roll, err := recovery.CallRoll(ctx, t, now)
			return cmp.Or(err, roll.Alone())
		},
	}
	if s.config.Agent.Wanted != nil {
		c.Wanted = s.config.Agent.Wanted
	}
	if section.Command != "" {
		c.Off = func(ctx context.Context, id string) error { return isOff(ctx, section.Command, id, t.Address(id)) }
	}
	return backstop.NewWorker(c)
}

func (s *Set) lookForBackstop() (backstop.Sight, bool) {
	r := s.view().Running()
	if r == nil {
		return backstop.Sight{}, false
	}
	who := s.Leadership.Current()
	seen := backstop.Sight{Leader: who.LeaderID, Members: r.GetConfiguration().Configuration()}
	if who.Leader {
		seen.Leader = s.ID()
	}
	return seen, true
}

// isOff calls a command with the ID and the address of an agent, and returns nil if it
// says that its machine is off.
func isOff(ctx context.Context, command, id, address string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, id, address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said := &beginning{}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s %s did not end within %s", command, id, address, commandTimeout)
	case err != nil:
		return fmt.Errorf("%s %s %s: %w %s", command, id, address, err, bytes.TrimSpace(said.text))
	}
	return nil
}

// beginning keeps the first bytes of what is written to it.
type beginning struct{ text []byte }

// Write is part of io.Writer.
func (b *beginning) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), maxSaid-len(b.text))]...)
	return len(p), nil
}
