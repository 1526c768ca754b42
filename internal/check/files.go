package check

import (
	"cmp"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/backup"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/projection"
	"github.com/interrex/interrex/transport"
)

// APITLS returns the API's TLS, nil for none. The files are read again when they have
// changed.
func APITLS(section config.APITLS) (files *certificates.Files, _ *tls.Config, _ error) {
	if section.Cert == "" {
		return nil, nil, nil
	}
	files = &certificates.Files{Cert: section.Cert, Key: section.Key, ClientCA: section.ClientCA}
	if _, err := files.Certificate(); err != nil {
		return nil, nil, fmt.Errorf("cannot serve the API: %w", err)
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return files.Certificate() },
	}
	if section.ClientCA == "" {
		return files, c, nil
	}
	c.ClientAuth = tls.RequestClientCert // admission.VerifyClientCert judges it
	return files, c, nil
}

// Backstop reports why the backstop's command cannot be called.
func Backstop(c config.Config) error {
	if !c.Features.Backstop.On() || c.Backstop.Command == "" {
		return nil
	}
	if _, err := exec.LookPath(c.Backstop.Command); err != nil {
		return fmt.Errorf("backstop.command: %w", err)
	}
	return nil
}

// Backup reports why no copies can be kept where they are to be.
func Backup(c config.Config) error {
	if !filepath.IsAbs(c.Backup.To) {
		return nil // there are none, or Validate has reported it
	}
	if err := backup.CheckDirectory(c.Backup.To, c.Agent.DataDir); err != nil {
		return fmt.Errorf("backup.to: %w", err)
	}
	return nil
}

// Certificates returns the certificates between agents, from Go or from files; nil:
// the agent is alone.
func (a Agent) Certificates(section config.Cluster) transport.TLS {
	switch {
	case a.TLS != nil:
		return a.TLS
	case section.TLS.Present():
		return &certificates.Files{CA: section.TLS.CA, Cert: section.TLS.Cert, Key: section.TLS.Key}
	}
	return nil
}

// ID returns the ID to open a data directory with: the configured one; none where the
// directory has one; else the host's name.
func ID(configured, path string) string {
	if configured != "" {
		return configured
	}
	if _, err := os.Stat(filepath.Join(path, "identity.json")); err == nil {
		return ""
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if certificates.CheckID(host) != nil {
		return "agent"
	}
	return host
}

// SocketPath returns where the operator's socket is.
func SocketPath(c config.Config) string {
	return cmp.Or(c.API.Socket, filepath.Join(c.Agent.DataDir, "interrex.sock"))
}

// maxSocketPath is how long the path of a socket may be, in bytes.
const maxSocketPath = 107

// SocketFile reports why a socket cannot be at a path.
func SocketFile(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("%s: the path has %d bytes, %d are allowed: set api.socket to a shorter one", path, len(path), maxSocketPath)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s: another file is there", path)
	}
	return nil
}

// FreeSocket reports why a socket cannot be put at a path, where only a dead one of this
// user may be.
func FreeSocket(path string) error {
	if err := SocketFile(path); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if Answers(path) {
		return fmt.Errorf("%s: another process listens there: set api.socket to a path of this agent's own", path)
	}
	if stat, is := info.Sys().(*syscall.Stat_t); is && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: a socket of another user is there: remove it, or set api.socket to another path", path)
	}
	return nil
}

// Notify reports what is missing for a database of lease holders.
func (a Agent) Notify(c config.Config) error {
	section := c.Notify
	switch {
	case section.Off(), c.Raft.Enabled == config.Off: // then there is no table
		return nil
	case strings.Contains(section.LeaseHolders, "://"):
		return errors.New("notify.lease-holders: give the path of a file that holds the URL, not the URL, which has a password")
	case !section.SQLite() && a.Postgres == nil:
		return errors.New("notify.lease-holders: no PostgreSQL driver is linked: set Config.Postgres")
	case !section.SQLite():
		return nil
	case a.SQLite == nil:
		return errors.New("notify.lease-holders: no SQLite driver is linked: set Config.SQLite")
	case c.Agent.DataDir == "":
		return errors.New("notify.lease-holders: an agent in memory has no directory for a SQLite file")
	}
	return nil
}

// HoldersDatabase returns how to open the database of lease holders, and its dialect.
func (a Agent) HoldersDatabase(section config.Notify, dir string) (func() (*sql.DB, error), projection.Dialect, error) {
	if section.SQLite() {
		return func() (*sql.DB, error) { return a.SQLite(filepath.Join(dir, "lease-holders.db")) }, projection.SQLite, nil
	}
	text, err := disk.ReadSmall(section.LeaseHolders)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the PostgreSQL URL: %w", err)
	}
	url := strings.TrimSpace(string(text))
	if !isPostgresURL(url) {
		return nil, "", fmt.Errorf("%s does not hold a PostgreSQL URL: write postgres://USER:PASSWORD@HOST/DATABASE, where any other @ / ? # is %%40 %%2F %%3F %%23", section.LeaseHolders)
	}
	return func() (*sql.DB, error) {
		db, err := a.Postgres(url)
		if err != nil {
			err = fmt.Errorf("%s: %w", section.LeaseHolders, err)
		}
		return db, err
	}, projection.PostgreSQL, nil
}

// isPostgresURL reports whether it is certain where a URL's password is: the
// errors of a driver hide the password, and show a part of one that it took for
// the host or the database.
func isPostgresURL(url string) bool {
	scheme, rest, _ := strings.Cut(url, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return false
	}
	end := strings.IndexAny(rest, "@/?#")
	return end < 0 || !strings.Contains(rest[end+1:], "@")
}
