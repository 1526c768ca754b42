// Package check owns the examination of a configuration: the files, directory, ports
// and database that it names, and whether an agent can use them.
package check

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/transport"
)

// connectTimeout bounds the wait for a database or a socket that is checked.
const connectTimeout = 5 * time.Second

// endsSoon is how long before its end there is a warning about a certificate.
const endsSoon = 30 * 24 * time.Hour

// Agent is the agent whose configurations are examined, as far as only Go can set it.
type Agent struct {
	TLS              transport.TLS // between agents; nil: the files of cluster.tls
	SQLite, Postgres func(string) (*sql.DB, error)
}

// All reports why an agent could not be run with a valid configuration, a line for
// each problem, and what is doubtful but does not stop it. It changes nothing.
func (a Agent) All(ctx context.Context, c config.Config) (warnings []string, err error) {
	found := []error{a.Notify(c), Socket(c), Backstop(c), Backup(c)}
	id, err := knownID(c.Agent)
	if found = append(found, err); err == nil {
		found = append(found, a.Certified(c, id))
	} else { // whose certificate it must be is not known
		found = append(found, APIFiles(c.API.TLS), clusterFiles(c.Cluster.TLS).readable())
	}
	warnings = doubtful(c)
	if path := SocketPath(c); Answers(path) {
		warnings = append(warnings, fmt.Sprintf("api.listen, cluster.listen: not tried, because an agent is running (%s); a reload will check whether they are free", path))
	} else {
		found = append(found, a.tryPorts(ctx, c))
	}
	return warnings, errors.Join(append(found, a.Holders(ctx, c))...)
}

// keyFiles are files that a configuration names, by key.
type keyFiles []struct{ key, path string }

// readable reports the files that cannot be read.
func (files keyFiles) readable() error {
	var failed []error
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if _, err := disk.ReadSmall(f.path); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", f.key, err))
		}
	}
	return errors.Join(failed...)
}

func apiFiles(section config.APITLS) keyFiles {
	return keyFiles{{"api.tls.cert", section.Cert}, {"api.tls.key", section.Key}, {"api.tls.client-ca", section.ClientCA}}
}

func clusterFiles(section config.TLSFiles) keyFiles {
	return keyFiles{{"cluster.tls.ca", section.CA}, {"cluster.tls.cert", section.Cert}, {"cluster.tls.key", section.Key}}
}

// APIFiles reports why the API's TLS files cannot be used.
func APIFiles(section config.APITLS) error {
	if err := apiFiles(section).readable(); err != nil || section.Cert == "" || section.Key == "" {
		return err
	}
	if _, _, err := APITLS(section); err != nil {
		return fmt.Errorf("api.tls: %w", err)
	}
	if leaf := certificateIn(section.Cert); leaf != nil && time.Now().After(leaf.NotAfter) {
		return fmt.Errorf("api.tls.cert: %s expired at %s: issue a new one, or correct the clock", section.Cert, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// Pending reports whether an agent is still to get its certificate by itself.
func Pending(c config.Config) bool {
	return c.Cluster.Enrols() && !authority.Enrolled(c.Agent.DataDir)
}

// Certified reports why an agent of this ID cannot use its certificates, or what it gets
// them with.
func (a Agent) Certified(c config.Config, id string) error {
	if Pending(c) {
		return keyFiles{{"cluster.join-token-file", c.Cluster.JoinTokenFile}, {"cluster.ca-key-file", c.Cluster.CAKeyFile}}.readable()
	}
	return errors.Join(APIFiles(c.API.TLS), a.ClusterFiles(c.Cluster, id))
}

// ClusterFiles reports why an agent of this ID cannot use the certificates between
// agents.
func (a Agent) ClusterFiles(section config.Cluster, id string) error {
	if a.TLS == nil {
		if err := clusterFiles(section.TLS).readable(); err != nil {
			return err
		}
		if t := section.TLS; t.CA == "" || t.Cert == "" || t.Key == "" {
			return nil // there are none, or Validate has reported it
		}
	}
	given := a.Certificates(section)
	if given == nil {
		return nil
	}
	if err := certificates.Check(given, id); err != nil {
		return fmt.Errorf("cluster.tls: %w", err)
	}
	if files, is := given.(*certificates.Files); is && files.Problem() != nil {
		return fmt.Errorf("cluster.tls: %w", files.Problem())
	}
	return nil
}

// Holders reports why the database of lease holders cannot be used. It connects for
// 5 s at most.
func (a Agent) Holders(ctx context.Context, c config.Config) error {
	section := c.Notify
	if section.Off() || section.SQLite() || a.Notify(c) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	open, _, err := a.HoldersDatabase(section, c.Agent.DataDir)
	if err == nil {
		err = connect(ctx, open)
	}
	if err != nil {
		return fmt.Errorf("notify.lease-holders: %w", oneLine(err))
	}
	return nil
}

// connect reports why a database does not answer.
func connect(ctx context.Context, open func() (*sql.DB, error)) error {
	db, err := open()
	if err != nil {
		return err
	}
	return errors.Join(db.PingContext(ctx), db.Close())
}

// oneLine puts a driver's error of several lines on one.
func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// Socket reports why the operator's socket cannot be where it is set.
func Socket(c config.Config) error {
	if c.API.Socket == "" && c.Agent.DataDir == "" {
		return nil
	}
	if err := SocketFile(SocketPath(c)); err != nil {
		return fmt.Errorf("api.socket: %w", err)
	}
	if c.API.Socket == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(c.API.Socket)); err != nil {
		return fmt.Errorf("api.socket: %w", err)
	}
	return nil
}

// dataDirectory reports why the data directory can be neither used nor made.
func dataDirectory(path string) error {
	named := path
	info, err := os.Stat(path)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		path = filepath.Dir(path)
		info, err = os.Stat(path)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", path)
	}
	if err == nil {
		if denied := unix.Access(path, unix.W_OK|unix.X_OK); denied != nil {
			err = fmt.Errorf("%s cannot be written to: %w", path, denied)
		}
	}
	if err == nil && path != named {
		if failed := makeable(path); failed != nil {
			err = fmt.Errorf("%s cannot be made: %w", named, failed)
		}
	}
	if err != nil {
		return fmt.Errorf("agent.data-dir: %w", err)
	}
	return nil
}

// makeable reports why no directory can be made in one: a file system of the kernel's
// own refuses that, whatever its permissions say.
func makeable(parent string) error {
	made, err := os.MkdirTemp(parent, ".interrex-check-")
	if err != nil {
		return err
	}
	return os.Remove(made)
}

// knownID returns the ID that the agent will have. The error says why it cannot use
// its data directory, which may belong to another agent.
func knownID(c config.Agent) (string, error) {
	if c.DataDir == "" {
		return ID(c.ID, ""), nil
	}
	if err := dataDirectory(c.DataDir); err != nil {
		return "", err
	}
	id, err := datadir.LookUpID(c.DataDir, ID(c.ID, c.DataDir))
	if err != nil {
		return "", fmt.Errorf("agent.data-dir: %w", err)
	}
	return id, nil
}

// Answers reports whether something listens on a socket, or may.
func Answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, connectTimeout)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ECONNREFUSED)
	}
	_ = conn.Close()
	return true
}

// tryPorts binds the ports for a moment.
func (a Agent) tryPorts(ctx context.Context, c config.Config) error {
	failed := []error{Port(ctx, "api.listen", c.API.Listen)}
	if a.Certificates(c.Cluster) != nil {
		failed = append(failed, Port(ctx, "cluster.listen", c.Cluster.Listen))
	}
	return errors.Join(failed...)
}

func Port(ctx context.Context, key, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil // there is none, or Validate has reported it
	}
	numeric, err := ports.Resolve(ctx, address)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	l, err := net.Listen("tcp", numeric)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return l.Close()
}

// doubtful returns what should not be so, and does not keep the agent from running.
func doubtful(c config.Config) []string {
	secrets := keyFiles{{"cluster.tls.key", c.Cluster.TLS.Key}, {"api.tls.key", c.API.TLS.Key}}
	if h := c.Notify; !h.Off() && !h.SQLite() {
		secrets = append(secrets, keyFiles{{"notify.lease-holders", h.LeaseHolders}}...)
	}
	var all []string
	for _, f := range secrets {
		if info, err := os.Stat(f.path); f.path != "" && err == nil && info.Mode().Perm()&0o077 != 0 {
			all = append(all, fmt.Sprintf("%s: others can read %s, its mode is %04o: run 'chmod 600 %s'", f.key, f.path, info.Mode().Perm(), f.path))
		}
	}
	if info, err := os.Stat(c.Agent.DataDir); err == nil && info.IsDir() && info.Mode().Perm()&0o077 != 0 {
		all = append(all, fmt.Sprintf("agent.data-dir: others can look into %s, its mode is %04o: run 'chmod 700 %s'", c.Agent.DataDir, info.Mode().Perm(), c.Agent.DataDir))
	}
	for _, f := range append(apiFiles(c.API.TLS), clusterFiles(c.Cluster.TLS)...) {
		leaf := certificateIn(f.path)
		if leaf == nil {
			continue
		}
		if left := time.Until(leaf.NotAfter); left > 0 && left < endsSoon {
			all = append(all, fmt.Sprintf("%s: %s expires in %d days, at %s: issue a new one", f.key, f.path, int(left.Hours()/24), leaf.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	return all
}

// certificateIn returns the first certificate of a file; nil: there is none.
func certificateIn(path string) *x509.Certificate {
	text, err := disk.ReadSmall(path)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil
			}
			return leaf
		}
	}
	return nil
}
