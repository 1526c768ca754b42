package assembly

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/ports"
)

// Reload applies the configuration that Load reads, and returns the sections that
// have changed: only their workers are restarted. The configuration is checked and
// new addresses are bound first; if anything fails, nothing changes, and the error
// (ErrInvalid) has a line for each problem.
func (s *Set) Reload(ctx context.Context) ([]string, error) {
	if s.config.Agent.Load == nil {
		return nil, interrex.Errorf(interrex.ErrDisabled, "cannot reload: this agent was not started from a configuration file")
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	next, err := s.config.Agent.Load()
	var changed []string
	if err == nil {
		changed, err = s.apply(ctx, next)
	}
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot reload; the current configuration stays in force:%s", list(err))
	}
	s.logger("config").Infof("reloaded; changed sections: %v", changed)
	return changed, nil
}

// list puts several problems on lines of their own.
func list(err error) string {
	text := err.Error()
	if !strings.Contains(text, "\n") {
		return " " + text
	}
	return "\n  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// apply makes next the configuration, or changes nothing.
func (s *Set) apply(ctx context.Context, next config.Config) ([]string, error) {
	next = enrolment.Complete(next.WithDefaults())
	current, _ := s.configuration.Current()
	c := edit{set: s, from: current, to: next, bound: map[string]ports.Bound{}}
	if err := errors.Join(c.check(ctx), c.bind(ctx)); err != nil {
		for _, l := range c.bound {
			_ = l.Close()
		}
		return nil, err
	}
	for name, l := range c.bound {
		s.ports.Pass(name, l)
	}
	return s.configuration.Swap(next), nil
}

// edit is one configuration that is about to follow another.
type edit struct {
	set      *Set
	from, to config.Config
	bound    map[string]ports.Bound // of each worker that is restarted
}

// differs reports whether a part of the configuration changes.
func differs[T any](c edit, pick func(config.Config) T) bool {
	return !reflect.DeepEqual(pick(c.from), pick(c.to))
}

// check reports what would make the restarted workers fail.
func (c edit) check(ctx context.Context) error {
	agent := c.set.config.Agent
	found := []error{fixed(c.from, c.to), agent.validate(c.to)}
	if differs(c, pickSocket) {
		found = append(found, check.Socket(c.to))
	}
	if differs(c, pickAPI) || differs(c, pickCluster) {
		found = append(found, agent.checked().Certified(c.to, c.set.ID()))
	}
	if differs(c, pickBackstop) {
		found = append(found, check.Backstop(c.to))
	}
	if differs(c, pickBackup) {
		found = append(found, check.Backup(c.to))
	}
	if differs(c, pickNotify) {
		found = append(found, agent.checked().Holders(ctx, c.to))
	}
	return errors.Join(found...)
}

// bind binds the ports of the workers that are restarted.
func (c edit) bind(ctx context.Context) error {
	var failed []error
	if differs(c, pickAPI) {
		failed = append(failed, c.bindOne(ctx, ports.API, "api.listen", c.to.API.Listen))
	}
	if differs(c, pickCluster) {
		address := c.to.Cluster.Listen
		if c.set.config.Agent.checked().Certificates(c.to.Cluster) == nil {
			address = "" // it is alone
		}
		failed = append(failed, c.bindOne(ctx, ports.Cluster, "cluster.listen", address))
	}
	return errors.Join(failed...)
}

func (c edit) bindOne(ctx context.Context, name, key, address string) error {
	c.bound[name] = ports.Bound{}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil // there is none, or check has reported it
	}
	l, err := c.set.ports.Bind(ctx, name, address)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	c.bound[name] = l
	return nil
}

// fixed refuses what a running agent cannot change.
func fixed(from, to config.Config) error {
	var all []error
	for _, f := range []struct {
		key      string
		from, to string
	}{
		{"agent.id", from.Agent.ID, to.Agent.ID},
		{"agent.data-dir", from.Agent.DataDir, to.Agent.DataDir},
		{"logging.format", from.Logging.Format, to.Logging.Format},
	} {
		if f.from != f.to {
			all = append(all, fmt.Errorf("%s: changing it from %q to %q needs a restart of the agent", f.key, f.from, f.to))
		}
	}
	if from.API.MaxRequestBytes != to.API.MaxRequestBytes {
		all = append(all, errors.New("api.max-request-bytes: changing it needs a restart of the agent"))
	}
	if from.Raft.Enabled != to.Raft.Enabled {
		all = append(all, errors.New("raft.enabled: changing it needs a restart of the agent"))
	}
	if check.Pending(to) && !check.Pending(from) {
		all = append(all, errors.New("cluster.join-token-file, cluster.ca-key-file: they are for an agent that has not begun otherwise: changing them needs a restart of the agent"))
	}
	return errors.Join(all...)
}
