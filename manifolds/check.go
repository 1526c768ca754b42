package manifolds

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
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/ports"
)

// connectTimeout bounds the wait for a database or a socket that is checked.
const connectTimeout = 5 * time.Second

// endsSoon is how long before its end a certificate is warned of.
const endsSoon = 30 * 24 * time.Hour

// Check is agent.Config's.
func (c AgentConfig) Check(ctx context.Context) (warnings []string, err error) {
	file := c.file()
	found := []error{fit(file), c.validNotify(file.Notify), checkAPIFiles(file.API.TLS), checkSocket(file)}
	id, err := c.knownID()
	if found = append(found, err); err == nil {
		found = append(found, c.checkClusterFiles(file.Cluster, id))
	}
	warnings = c.warnings()
	if path := socketPath(file.API.Socket, c.DataDir); answers(path) {
		warnings = append(warnings, fmt.Sprintf("api.listen, cluster.listen: they were not tried, since an agent answers at %s: a reload will say whether they are free", path))
	} else {
		found = append(found, c.tryPorts(ctx, file))
	}
	return warnings, errors.Join(append(found, c.checkHolders(ctx, file.Notify))...)
}

// keyFiles are files that a configuration names, by key.
type keyFiles []struct{ key, path string }

// readable reports which files cannot be read.
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

// checkAPIFiles reports why the API's TLS files cannot be used.
func checkAPIFiles(section config.APITLS) error {
	if err := apiFiles(section).readable(); err != nil || section.Cert == "" || section.Key == "" {
		return err
	}
	if _, _, _, err := apiTLS(section); err != nil {
		return fmt.Errorf("api.tls: %w", err)
	}
	if leaf := certificateIn(section.Cert); leaf != nil && time.Now().After(leaf.NotAfter) {
		return fmt.Errorf("api.tls.cert: %s ended at %s: issue a new one, or set the clock right", section.Cert, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkClusterFiles reports why an agent of this ID cannot use the certificates
// between agents.
func (c AgentConfig) checkClusterFiles(section config.Cluster, id string) error {
	if c.TLS == nil {
		if err := clusterFiles(section.TLS).readable(); err != nil {
			return err
		}
		if t := section.TLS; t.CA == "" || t.Cert == "" || t.Key == "" {
			return nil // none, or Validate has said so
		}
	}
	given := c.certificates(section)
	if given == nil {
		return nil
	}
	if err := certificates.Check(given, id); err != nil {
		return fmt.Errorf("cluster.tls: %w", err)
	}
	return nil
}

// checkHolders reports why the database of lease holders cannot be used.
func (c AgentConfig) checkHolders(ctx context.Context, section config.Notify) error {
	if section.LeaseHolders == config.NotifyOff || section.LeaseHolders == config.NotifySQLite || c.validNotify(section) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	open, _, err := c.holdersDatabase(section, c.DataDir)
	if err == nil {
		err = reach(ctx, open)
	}
	if err != nil {
		return fmt.Errorf("notify.lease-holders: %w", oneLine(err))
	}
	return nil
}

// reach reports why a database does not answer.
func reach(ctx context.Context, open func() (*sql.DB, error)) error {
	db, err := open()
	if err != nil {
		return err
	}
	return errors.Join(db.PingContext(ctx), db.Close())
}

// oneLine makes one line of what a driver says in several.
func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// checkSocket reports why the operator's socket cannot be where it is set.
func checkSocket(file config.Config) error {
	if file.API.Socket == "" && file.Agent.DataDir == "" {
		return nil
	}
	if err := checkSocketPath(socketPath(file.API.Socket, file.Agent.DataDir)); err != nil {
		return fmt.Errorf("api.socket: %w", err)
	}
	if file.API.Socket == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(file.API.Socket)); err != nil {
		return fmt.Errorf("api.socket: %w", err)
	}
	return nil
}

// checkDataDir reports why the data directory can be neither used nor made.
func checkDataDir(path string) error {
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
	if err != nil {
		return fmt.Errorf("agent.data-dir: %w", err)
	}
	return nil
}

// knownID is the ID that the agent will have. The error says why it cannot use
// its data directory: it may belong to another agent.
func (c AgentConfig) knownID() (string, error) {
	if c.DataDir == "" {
		return c.id(""), nil
	}
	if err := checkDataDir(c.DataDir); err != nil {
		return "", err
	}
	id, err := datadir.LookUpID(c.DataDir, c.id(c.DataDir))
	if err != nil {
		return "", fmt.Errorf("agent.data-dir: %w", err)
	}
	return id, nil
}

// answers reports whether something listens on a socket, or may.
func answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, connectTimeout)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ECONNREFUSED)
	}
	_ = conn.Close()
	return true
}

// tryPorts binds the ports for a moment.
func (c AgentConfig) tryPorts(ctx context.Context, file config.Config) error {
	failed := []error{tryPort(ctx, "api.listen", file.API.Listen)}
	if c.certificates(file.Cluster) != nil {
		failed = append(failed, tryPort(ctx, "cluster.listen", file.Cluster.Listen))
	}
	return errors.Join(failed...)
}

func tryPort(ctx context.Context, key, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil // none, or Validate has said so
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

// warnings are what does not keep the agent from running, and should not be so.
func (c AgentConfig) warnings() []string {
	secrets := keyFiles{{"cluster.tls.key", c.Cluster.TLS.Key}, {"api.tls.key", c.API.TLS.Key}}
	if h := c.Notify.LeaseHolders; h != config.NotifyOff && h != config.NotifySQLite {
		secrets = append(secrets, keyFiles{{"notify.lease-holders", h}}...)
	}
	var all []string
	for _, f := range secrets {
		if info, err := os.Stat(f.path); f.path != "" && err == nil && info.Mode().Perm()&0o077 != 0 {
			all = append(all, fmt.Sprintf("%s: others can read %s, its mode is %04o: run 'chmod 600 %s'", f.key, f.path, info.Mode().Perm(), f.path))
		}
	}
	if info, err := os.Stat(c.DataDir); err == nil && info.IsDir() && info.Mode().Perm()&0o077 != 0 {
		all = append(all, fmt.Sprintf("agent.data-dir: others can look into %s, its mode is %04o: run 'chmod 700 %s'", c.DataDir, info.Mode().Perm(), c.DataDir))
	}
	for _, f := range append(apiFiles(c.API.TLS), clusterFiles(c.Cluster.TLS)...) {
		leaf := certificateIn(f.path)
		if leaf == nil {
			continue
		}
		if left := time.Until(leaf.NotAfter); left > 0 && left < endsSoon {
			all = append(all, fmt.Sprintf("%s: %s ends in %d days, at %s: issue a new one", f.key, f.path, int(left.Hours()/24), leaf.NotAfter.UTC().Format(time.RFC3339)))
		}
	}
	return all
}

// certificateIn is the first certificate of a file; nil: there is none.
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
