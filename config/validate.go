package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/limits"
)

// Limits of an agent's ID and of the number of agents that bootstrap.
const (
	maxID              = 63
	maxBootstrapExpect = 9
)

// Validate returns an error with one line for each invalid value, with what is
// allowed.
func (c Config) Validate() error {
	return errors.Join(c.Agent.validate(), c.API.validate(c.Cluster.Enrols()), c.Cluster.validate(), c.validateEnrolment(), c.validateForwarding(), c.Raft.validate(), c.Compare.validate(), c.Backstop.validate(), c.Backup.validate(), c.Logging.validate())
}

func (a Agent) validate() error {
	if a.ID == "" {
		return nil
	}
	return validateID(a.ID)
}

// validateID checks an agent's ID.
func validateID(id string) error {
	if len(id) == 0 || len(id) > maxID {
		return fmt.Errorf("agent.id: 1 to %d characters are allowed, not %d", maxID, len(id))
	}
	for i := range len(id) {
		c := id[i]
		inner := i > 0 && i < len(id)-1
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && inner) {
			return fmt.Errorf("agent.id: %q is not a DNS label: use a-z 0-9, and - between them", id)
		}
	}
	return nil
}

// validate checks the section. enrols says that the agent gets a certificate by itself.
func (a API) validate(enrols bool) error {
	var all []error
	if (a.TLS.Cert == "") != (a.TLS.Key == "") {
		all = append(all, errors.New("api.tls: cert and key go together"))
	}
	if a.TLS.ClientCA != "" && a.TLS.Cert == "" {
		all = append(all, errors.New("api.tls.client-ca: needs api.tls.cert and api.tls.key"))
	}
	if n := a.MaxRequestBytes; n != 0 && n < limits.MinRequestBytes {
		all = append(all, fmt.Errorf("api.max-request-bytes: at least %d are allowed, not %d", limits.MinRequestBytes, n))
	}
	if a.Listen == "" {
		return errors.Join(all...)
	}
	host, err := address("api.listen", a.Listen)
	if err == nil && a.TLS.Cert == "" && !enrols && !inbound.IsLoopback(host) {
		err = fmt.Errorf("api.listen: %s is beyond loopback, where access tokens would cross the network unencrypted: set api.tls.cert and api.tls.key, or listen on 127.0.0.1", a.Listen)
	}
	return errors.Join(append(all, err, dialable("api.advertise", a.Advertise))...)
}

func (c Cluster) validate() error {
	var all []error
	if c.Timing != "" && c.Timing != timingLAN && c.Timing != timingWAN {
		all = append(all, fmt.Errorf("cluster.timing: %q is neither %s nor %s", c.Timing, timingLAN, timingWAN))
	}
	if c.BootstrapExpect < 0 || c.BootstrapExpect > maxBootstrapExpect {
		all = append(all, fmt.Errorf("cluster.bootstrap-expect: 0 to %d are allowed, not %d", maxBootstrapExpect, c.BootstrapExpect))
	}
	all = append(all, c.validateOthers(), dialable("cluster.advertise", c.Advertise))
	if c.Listen != "" {
		_, err := address("cluster.listen", c.Listen)
		all = append(all, err)
	}
	for _, join := range c.Join {
		if join == "" {
			all = append(all, errors.New(`cluster.join: "" is not HOST:PORT`))
		}
		all = append(all, dialable("cluster.join", join))
	}
	return errors.Join(all...)
}

// validateOthers checks what is needed if there are other agents.
func (c Cluster) validateOthers() error {
	switch {
	case c.TLS.Present() && (c.TLS.CA == "" || c.TLS.Cert == "" || c.TLS.Key == ""):
		return errors.New("cluster.tls: ca, cert and key go together")
	case !c.TLS.Present() && !c.Enrols() && (c.BootstrapExpect > 1 || len(c.Join) > 0):
		return errors.New("cluster.tls: agents only talk to each other over TLS: set ca, cert and key, or cluster.join-token-file")
	case c.BootstrapExpect > 1 && len(c.Join) == 0:
		return fmt.Errorf("cluster.join: cluster.bootstrap-expect is %d: give the cluster addresses of the others", c.BootstrapExpect)
	}
	return nil
}

// validateEnrolment checks how the agent gets its certificate by itself.
func (c Config) validateEnrolment() error {
	switch s := c.Cluster; {
	case !s.Enrols():
		return nil
	case s.JoinTokenFile != "" && s.CAKeyFile != "":
		return errors.New("cluster.ca-key-file: cluster.join-token-file is set, too: an agent either joins a cluster with a token or creates one with the CA's key: set one of them")
	case c.Agent.DataDir == "":
		return errors.New("agent.data-dir: it is empty, and an agent that gets its certificate by itself keeps it there: give a directory")
	case s.JoinTokenFile != "" && len(s.Join) == 0:
		return errors.New("cluster.join: it is empty, and cluster.join-token-file is set: give the cluster addresses of members, which let the agent in")
	case s.JoinTokenFile != "" && s.BootstrapExpect > 0:
		return errors.New("cluster.bootstrap-expect: cluster.join-token-file is set, and an agent that joins a cluster creates none: set one of them")
	case s.CAKeyFile != "" && s.BootstrapExpect == 0:
		return errors.New("cluster.bootstrap-expect: cluster.ca-key-file is set: give the number of agents that create the cluster, the same on all of them")
	}
	return nil
}

// validateForwarding checks what an agent without raft needs.
func (c Config) validateForwarding() error {
	if c.Raft.Enabled != Off {
		if c.API.TokenFile != "" {
			return errors.New("api.token-file: it is for an agent without raft: on a member the socket's callers are operators: leave it out, or set raft.enabled to false")
		}
		return nil
	}
	switch s := c.Cluster; {
	case len(s.Join) == 0:
		return errors.New("cluster.join: it is empty, and raft.enabled is false: give the cluster addresses of members, to which requests are forwarded")
	case s.BootstrapExpect > 0:
		return errors.New("cluster.bootstrap-expect: raft.enabled is false, and an agent without raft creates no cluster: leave it out")
	case c.Backup.To != "":
		return errors.New("backup.to: raft.enabled is false, and an agent without raft has no state to copy: set it on members")
	case s.CAKeyFile != "":
		return errors.New("cluster.ca-key-file: raft.enabled is false, and an agent without raft creates no cluster: use cluster.join-token-file")
	}
	return nil
}

func (r Raft) validate() error {
	var all []error
	for _, d := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"heartbeat-timeout", r.HeartbeatTimeout, 50 * time.Millisecond},
		{"election-timeout", r.ElectionTimeout, 50 * time.Millisecond},
		{"leader-lease-timeout", r.LeaderLeaseTimeout, 20 * time.Millisecond},
		{"no-leader-timeout", r.NoLeaderTimeout, time.Second},
		{"snapshot-interval", r.SnapshotInterval, time.Second},
	} {
		if d.value != 0 && (d.value < d.least || d.value > time.Hour) {
			all = append(all, fmt.Errorf("raft.%s: %s to 1h are allowed, not %s", d.key, d.least, d.value))
		}
	}
	if r.LeaderLeaseTimeout != 0 && r.HeartbeatTimeout != 0 && r.LeaderLeaseTimeout >= r.HeartbeatTimeout {
		all = append(all, fmt.Errorf("raft.leader-lease-timeout: %s must be shorter than raft.heartbeat-timeout, %s: a leader that is cut off must step down before another is elected", r.LeaderLeaseTimeout, r.HeartbeatTimeout))
	}
	if r.SnapshotRetention < 0 || r.SnapshotRetention > 100 {
		all = append(all, fmt.Errorf("raft.snapshot-retention: 1 to 100 are allowed, not %d", r.SnapshotRetention))
	}
	return errors.Join(all...)
}

func (c Compare) validate() error {
	if c.Every != 0 && (c.Every < time.Second || c.Every > 24*time.Hour) {
		return fmt.Errorf("compare.every: 1s to 24h are allowed, not %s: to compare nothing, set compare.enabled to false", c.Every)
	}
	return nil
}

func (b Backstop) validate() error {
	var all []error
	for _, id := range b.Members {
		if err := validateID(id); err != nil {
			all = append(all, fmt.Errorf("backstop.members: %s", strings.TrimPrefix(err.Error(), "agent.id: ")))
		}
	}
	return errors.Join(all...)
}

func (b Backup) validate() error {
	var all []error
	if b.To != "" && !filepath.IsAbs(b.To) {
		all = append(all, fmt.Errorf("backup.to: %q is not an absolute path: give that of a directory", b.To))
	}
	if b.Every != 0 && (b.Every < time.Minute || b.Every > 365*24*time.Hour) {
		all = append(all, fmt.Errorf("backup.every: 1m to 8760h are allowed, not %s", b.Every))
	}
	if b.Keep < 0 || b.Keep > 1000 {
		all = append(all, fmt.Errorf("backup.keep: 1 to 1000 are allowed, not %d", b.Keep))
	}
	return errors.Join(all...)
}

var (
	levels  = []string{"critical", "error", "warning", "info", "debug", "trace"}
	formats = []string{"auto", "text", "json"}
)

func (l Logging) validate() error {
	var all []error
	if l.Level != "" && !slices.Contains(levels, strings.ToLower(l.Level)) {
		all = append(all, fmt.Errorf("logging.level: %q is not one of %s", l.Level, strings.Join(levels, ", ")))
	}
	if l.Format != "" && !slices.Contains(formats, l.Format) {
		all = append(all, fmt.Errorf("logging.format: %q is not one of %s", l.Format, strings.Join(formats, ", ")))
	}
	return errors.Join(all...)
}

func address(key, text string) (host string, err error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("%s: %q is not HOST:PORT", key, text)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", fmt.Errorf("%s: %q has no port between 0 and 65535", key, text)
	}
	return host, nil
}

// dialable rejects addresses that cannot be dialled. Empty means the bound
// address.
func dialable(key, text string) error {
	if text == "" {
		return nil
	}
	host, err := address(key, text)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%s: %q cannot be dialled by others: give a host", key, text)
	}
	return nil
}
