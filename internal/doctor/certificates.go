package doctor

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/disk"
)

// endsSoon is how long before its end a certificate is worth a look, as for the alarm
// certificate-ending.
const endsSoon = 30 * 24 * time.Hour

// certificates reports until when those that the configuration names are valid, and the
// one in the data directory's ca.pem.
func certificates(c config.Config, now time.Time) (all []Finding) {
	files := []struct{ key, path string }{
		{"cluster.tls.ca", c.Cluster.TLS.CA}, {"cluster.tls.cert", c.Cluster.TLS.Cert},
		{"api.tls.cert", c.API.TLS.Cert}, {"api.tls.client-ca", c.API.TLS.ClientCA},
		{"ca.pem", filepath.Join(c.Agent.DataDir, "ca.pem")},
	}
	var seen []string
	for _, f := range files {
		if f.path == "" || slices.Contains(seen, f.path) {
			continue
		}
		seen = append(seen, f.path)
		text, err := disk.ReadSmall(f.path)
		switch {
		case err == nil:
			all = append(all, validity(f.key, f.path, text, now, returning(f.path, c)))
		case f.key != "ca.pem" || !errors.Is(err, fs.ErrNotExist):
			all = append(all, found("certificate", Fail, "bring the file back, and let the agent's user read it", "%s: %v", f.key, err))
		}
	}
	if len(all) == 0 {
		return []Finding{ok("certificate", "the configuration names none")}
	}
	return append(append(all, pair("cluster.tls", c.Cluster.TLS.Cert, c.Cluster.TLS.Key)...), pair("api.tls", c.API.TLS.Cert, c.API.TLS.Key)...)
}

// returning says what gives an agent another certificate in place of one that it renews by
// itself; empty: it does not.
func returning(path string, c config.Config) string {
	if path != filepath.Join(c.Agent.DataDir, authority.AgentCertName) {
		return ""
	}
	return "start the agent: a voter renews it by itself, also after its end, and any other agent before; after it " +
		authority.HowToReturn(cmp.Or(c.Agent.ID, "ID"), c.Agent.DataDir, c.Raft.Enabled == config.Off)
}

// pair reports that a certificate's private key cannot be used.
func pair(key, cert, private string) []Finding {
	if cert == "" || private == "" {
		return nil
	}
	text, err := disk.ReadSmall(cert)
	if err != nil {
		return nil // it has a finding
	}
	secret, err := disk.ReadSmall(private)
	if err == nil {
		_, err = tls.X509KeyPair(text, secret)
	}
	if err != nil {
		return []Finding{found("certificate", Fail, "bring back the key of this certificate, readable by the agent's user, or issue both again", "%s.key: %s cannot be used: %v", key, private, err)}
	}
	return nil
}

// validity reports on the certificate of a file that ends first. returning says what gives
// the agent another one; empty: its operator does.
func validity(key, path string, text []byte, now time.Time, returning string) Finding {
	var first *x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return found("certificate", Fail, "issue it again", "%s: %s is damaged: %v", key, path, err)
		}
		if first == nil || c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	if first == nil {
		return found("certificate", Fail, "give a file in PEM", "%s: %s has no certificate", key, path)
	}
	end, days := first.NotAfter.UTC().Format(time.RFC3339), int(first.NotAfter.Sub(now).Hours()/24)
	switch {
	case now.Before(first.NotBefore):
		return found("certificate", Fail, "correct the clock of this machine, or of the one that issued it", "%s: %s is valid only from %s on", key, path, first.NotBefore.UTC().Format(time.RFC3339))
	case now.After(first.NotAfter):
		return found("certificate", Fail, cmp.Or(returning, "issue a new one")+"; or correct the clock: with this one nobody accepts a connection", "%s: %s expired at %s", key, path, end)
	case first.NotAfter.Sub(now) < endsSoon:
		return found("certificate", Warn, cmp.Or(returning, "issue a new one and replace the file: it is read again without a restart"), "%s: %s expires in %d days, at %s", key, path, days, end)
	}
	return ok("certificate", "%s: %s is valid for %d more days", key, path, days)
}
