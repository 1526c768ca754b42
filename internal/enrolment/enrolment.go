// Package enrolment owns the data directory of an agent that is about to found a
// cluster or to join one: its certificate, its configuration file, and what else must be
// there before it runs.
package enrolment

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/joining"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/membership"
)

// The names of files in a data directory.
const (
	ConfigName        = "interrex.yaml"
	JoinTokenName     = "join.token"
	OperatorTokenName = "operator.token"
)

// foundingUses is how many agents may join with the token that a cluster is founded
// with.
const foundingUses = 4

// Agent is the agent that a directory is made for.
type Agent struct {
	DataDir      string
	ID           string   // a DNS label
	API, Cluster string   // the addresses that it listens on, host:port; empty: those of its configuration
	Names        []string // further host names and IP addresses for its certificate
	Forwards     bool     // it is to run without raft
}

// validate returns the first field that is not valid.
func (a Agent) validate() error {
	if a.DataDir == "" {
		return errors.New("--data-dir is missing: give the directory for the agent's data")
	}
	if err := certificates.CheckID(a.ID); err != nil {
		return fmt.Errorf("--id: %w", err)
	}
	for flag, address := range map[string]string{"--api": a.API, "--cluster": a.Cluster} {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("%s: %q is not valid: give HOST:PORT: %w", flag, address, err)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%s: %q is not valid: others dial the port, so give one from 1 to 65535", flag, address)
		}
	}
	return nil
}

// names returns the names in the agent's certificate besides its ID: those at which
// callers on this machine reach its API, and those that it listens on.
func (a Agent) names() []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	for _, address := range []string{a.API, a.Cluster} {
		if host, _, _ := net.SplitHostPort(address); !inbound.Unspecified(host) {
			all = append(all, host)
		}
	}
	var names []string
	for _, name := range append(all, a.Names...) {
		single := net.ParseIP(name) == nil && !strings.Contains(name, ".") && name != "localhost"
		if !single && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Names returns the names that the certificate of an agent should have besides its ID.
func Names(c config.Config) []string { return configured(c).names() }

// configured returns what a configuration says of its agent.
func configured(c config.Config) Agent {
	a := Agent{API: c.API.Listen, Cluster: c.Cluster.Listen, Forwards: c.Raft.Enabled == config.Off}
	for _, address := range []string{c.API.Advertise, c.Cluster.Advertise} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			a.Names = append(a.Names, host)
		}
	}
	return a
}

// Founded is what Found has made.
type Founded struct {
	Operator  string        // the path of the operator's token's file
	JoinToken string        // the path of the join token's file
	Uses      int           // how many agents may join with it
	TTL       time.Duration // how long, from the cluster's first entry on
	Address   string        // at which they join: the agent's cluster address, as far as it is known
}

// Found makes the directory of an agent that founds a cluster: the cluster's CA, the
// agent's certificate and configuration, a token for the operator, and a join token for
// others. It refuses a
// directory that is not empty.
func Found(a Agent, now time.Time) (*Founded, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	if err := empty(a.DataDir); err != nil {
		return nil, err
	}
	if err := disk.MakePrivate(a.DataDir); err != nil {
		return nil, fmt.Errorf("cannot make the data directory: %w", err)
	}
	ca, err := authority.New(now)
	if err != nil {
		return nil, err
	}
	key, raw, err := authority.NewRequest(a.ID, a.names())
	if err != nil {
		return nil, err
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		return nil, err
	}
	cert, err := ca.Issue(request, a.ID, now)
	if err != nil {
		return nil, err
	}
	token := jointoken.New(ca.Pin())
	operator := accesstoken.New()
	hash := operator.Hash()
	charter := membership.Charter{CA: ca.Cert(), Operators: [][]byte{hash[:]}, JoinTokens: []membership.CharterJoinToken{{
		PublicKey: token.PublicKey(), Uses: foundingUses, TTL: limits.DefaultJoinTTL,
	}}}
	file, operatorFile := filepath.Join(a.DataDir, JoinTokenName), filepath.Join(a.DataDir, OperatorTokenName)
	err = errors.Join(
		ca.Save(a.DataDir), authority.SaveAgent(a.DataDir, key, cert, [][]byte{ca.Cert()}), charter.Save(a.DataDir),
		disk.ReplaceFile("the join token", file, []byte(token.String()+"\n")),
		disk.ReplaceFile("the operator's token", operatorFile, []byte(operator.String()+"\n")),
		(&configFile{}).save(a, a, nil),
	)
	if err != nil {
		return nil, err
	}
	return &Founded{Operator: operatorFile, JoinToken: file, Uses: foundingUses, TTL: limits.DefaultJoinTTL, Address: a.reachable()}, nil
}

// empty returns an error if a directory has anything in it.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot look into the data directory: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("the data directory %s is not empty (%s is there): give another, or move what is in it away", dir, entries[0].Name())
	}
	return nil
}

// reachable returns an address at which other machines may reach the agent.
func (a Agent) reachable() string {
	host, port, _ := net.SplitHostPort(a.Cluster)
	if inbound.Unspecified(host) {
		host = "THIS-MACHINE"
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

// JoinConfig is what Join needs besides the agent.
type JoinConfig struct {
	Agent     Agent
	Addresses []string // cluster addresses of any members
	Token     jointoken.Token
	Clock     clock.Clock
	Logger    interrex.Logger

	file  *configFile // what is in the directory already
	given Agent       // Agent, before it was completed with that
}

// Joined is what Join has done.
type Joined struct {
	ID   string
	Runs bool // the agent runs, and takes its new certificate without a restart
}

// Join asks the cluster for a certificate, and makes the directory of an agent that it
// lets in. Repeated with the same directory it goes on where it was: its key stays the
// same, so that it counts as one use of the token. An agent that is in the cluster
// already gets a new certificate: all else in its directory stays as it is. What an
// agent has that was removed from the cluster, or left behind by a recovery of it, is
// set aside. A configuration file that is there is kept, except for what must change.
func Join(ctx context.Context, c JoinConfig) (Joined, error) {
	file, err := readConfigFile(c.Agent.DataDir)
	if err != nil {
		return Joined{}, err
	}
	if c.Agent.ID == "" && c.Agent.DataDir != "" { // the directory has one
		known, err := datadir.OpenIdentity(c.Agent.DataDir, "")
		if err != nil {
			return Joined{}, err
		}
		c.Agent.ID = known.ID
	}
	c.file = file
	c.given, c.Agent = c.Agent, file.complete(c.Agent)
	if err := c.Agent.validate(); err != nil {
		return Joined{}, err
	}
	for _, address := range c.Addresses {
		if err := inbound.CheckAddress(address); err != nil {
			return Joined{}, fmt.Errorf("the address %q is not valid: %w", address, err)
		}
	}
	runs, err := c.locked(ctx)
	return Joined{ID: c.Agent.ID, Runs: runs}, err
}

// locked does what Join does, with the directory locked where no agent runs in it, and
// reports whether one does.
func (c JoinConfig) locked(ctx context.Context) (runs bool, err error) {
	a := c.Agent
	if err := disk.MakePrivate(a.DataDir); err != nil {
		return false, fmt.Errorf("cannot make the data directory: %w", err)
	}
	lock, err := disk.LockDir(a.DataDir, "interrex agent join")
	if errors.Is(err, disk.ErrInUse) {
		return true, c.join(ctx, err)
	}
	if err != nil {
		return false, err
	}
	return false, errors.Join(c.join(ctx, nil), lock.Unlock())
}

// join does what Join does. inUse, unless it is nil, is the error of the directory's
// lock: while the agent runs, only its certificate may be replaced.
func (c JoinConfig) join(ctx context.Context, inUse error) error {
	a := c.Agent
	if inUse == nil {
		if err := datadir.FinishSettingAside(a.DataDir); err != nil {
			return err
		}
	}
	is, err := datadir.OpenIdentity(a.DataDir, a.ID)
	if err != nil {
		return err
	}
	var held *joining.Held
	if is.ClusterID != "" {
		held = &joining.Held{ClusterID: is.ClusterID, Epoch: is.Epoch, Incarnation: is.Incarnation}
	}
	known := a.knownForwarder(is)
	if held == nil && !known && inUse != nil {
		return inUse
	}
	key, csr, err := a.request()
	if err != nil {
		return err
	}
	grant, err := joining.Join(ctx, joining.Config{
		ID: a.ID, Token: c.Token, Addresses: c.Addresses, Key: key, CSR: csr, Forwards: a.Forwards, Held: held, Incarnation: is.Incarnation, Clock: c.Clock, Logger: c.Logger,
	})
	if err != nil {
		return err
	}
	if held != nil && !grant.Anew || known && is.Joins == grant.ClusterID {
		return returned(a, key, grant)
	}
	if inUse != nil {
		return inUse
	}
	if held != nil {
		if err := datadir.SetAside(a.DataDir); err != nil {
			return err
		}
		if is, err = datadir.OpenIdentity(a.DataDir, a.ID); err != nil {
			return err
		}
		c.Logger.Infof("the data of agent %s from before is set aside in %s", a.ID, filepath.Join(a.DataDir, datadir.AsideName))
	}
	is.Join(grant.ClusterID)
	join := slices.Clone(c.Addresses)
	for _, address := range grant.Members {
		if !slices.Contains(join, address) && inbound.CheckAddress(address) == nil {
			join = append(join, address)
		}
	}
	return errors.Join(
		authority.SaveAgent(a.DataDir, key, grant.Certificate, grant.Authorities),
		datadir.SaveIdentity(a.DataDir, is),
		c.file.save(c.given, a, join),
	)
}

// knownForwarder reports whether the directory is of an agent without raft that has joined
// before, and has its configuration.
func (a Agent) knownForwarder(is datadir.Identity) bool {
	_, err := os.Stat(filepath.Join(a.DataDir, ConfigName))
	return a.Forwards && is.ClusterID == "" && is.Joins != "" && err == nil
}

// returned gives an agent that is in the cluster already its new certificate. All else
// in its directory stays as it is.
func returned(a Agent, key *ecdsa.PrivateKey, grant *joining.Grant) error {
	return errors.Join(
		authority.SaveAgent(a.DataDir, key, grant.Certificate, grant.Authorities),
		authority.EndRenewal(a.DataDir), // its key was replaced by this one
	)
}

// request returns the agent's key, the one in its directory if there is one, and a
// certificate request for it. The key is on the disk before anybody is asked.
func (a Agent) request() (*ecdsa.PrivateKey, []byte, error) {
	path := filepath.Join(a.DataDir, authority.AgentKeyName)
	text, err := disk.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the agent's key: %w", err)
	}
	if text == nil {
		key, csr, err := authority.NewRequest(a.ID, a.names())
		if err != nil {
			return nil, nil, err
		}
		return key, csr, authority.SaveKey(a.DataDir, key)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, fmt.Errorf("%s is not a key in PEM: move it away", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: move it away", path, err)
	}
	key, is := parsed.(*ecdsa.PrivateKey)
	if !is {
		return nil, nil, fmt.Errorf("%s is a %T, not an ECDSA key: move it away", path, parsed)
	}
	csr, err := authority.Request(key, a.ID, a.allNames())
	return key, csr, err
}

// allNames returns the agent's names, and the further ones of its present certificate.
func (a Agent) allNames() []string {
	text, _ := disk.ReadFile(filepath.Join(a.DataDir, authority.AgentCertName)) // none: there are none
	if block, _ := pem.Decode(text); block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return authority.Names(a.names(), cert)
		}
	}
	return a.names()
}
