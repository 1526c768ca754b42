package authority

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// agentDir makes the data directory of an agent with a certificate that was issued at
// at.
func agentDir(t *testing.T, a *Authority, at time.Time) string {
	t.Helper()
	dir := t.TempDir()
	key, cert := certified(t, a, at)
	if err := SaveAgent(dir, key, cert, [][]byte{a.Cert()}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func certified(t *testing.T, a *Authority, at time.Time) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, raw, err := NewRequest("n1", []string{"api.example.com", "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(request, "n1", at)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// inUse returns the certificate in a data directory, which must match its key.
func inUse(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, AgentCertName), filepath.Join(dir, AgentKeyName))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestARenewalThatWasCutIsFinished(t *testing.T) {
	a := newAuthority(t)
	dir := agentDir(t, a, now)
	before := inUse(t, dir)
	key, cert := certified(t, a, now)

	// Before the certificate is there, the agent's files stay as they are.
	r := &Renewal{Key: key}
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := FinishRenewal(dir); err != nil || !inUse(t, dir).Equal(before) {
		t.Fatalf("the files have changed, or %v", err)
	}
	back, err := ReadRenewal(dir)
	if err != nil || !back.Key.Equal(key) || back.Certificate != nil {
		t.Fatalf("%+v, %v", back, err)
	}

	// What cannot be installed is kept.
	r.Certificate, r.Authorities = cert, [][]byte{a.Cert()}
	file := filepath.Join(dir, AgentCertName)
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Save(dir), os.Remove(file), os.MkdirAll(filepath.Join(file, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := FinishRenewal(dir); err == nil {
		t.Error("it is installed")
	}
	if back, err := ReadRenewal(dir); err != nil || !slices.Equal(back.Certificate, cert) || len(back.Authorities) != 1 {
		t.Fatalf("%+v, %v", back, err)
	}
	if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, was, 0o600)); err != nil {
		t.Fatal(err)
	}

	// A crash between the key's file and the certificate's.
	if err := SaveKey(dir, key); err != nil {
		t.Fatal(err)
	}
	if err := FinishRenewal(dir); err != nil || !slices.Equal(inUse(t, dir).Raw, cert) {
		t.Fatalf("the new certificate is not in use, or %v", err)
	}
	if back, err := ReadRenewal(dir); back != nil || err != nil {
		t.Errorf("the renewal is still there: %+v, %v", back, err)
	}
	info, err := os.Stat(filepath.Join(dir, AgentKeyName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}

func TestAnEndedCertificateIsIssuedAgainWhereTheAuthoritysKeyIs(t *testing.T) {
	a := newAuthority(t)
	dir := agentDir(t, a, now.Add(-CertLife-time.Hour))
	before := inUse(t, dir)
	if done, err := Reissue(dir, "n1", now); done || err != nil {
		t.Errorf("without the key: %v, %v", done, err)
	}
	if err := a.SaveKey(dir); err != nil {
		t.Fatal(err)
	}
	if done, err := Reissue(dir, "n1", before.NotAfter.Add(-time.Hour)); done || err != nil {
		t.Errorf("before its end: %v, %v", done, err)
	}
	done, err := Reissue(dir, "n1", now)
	after := inUse(t, dir)
	if !done || err != nil || !after.NotAfter.After(now) {
		t.Fatalf("%v, %v, until %v", done, err, after.NotAfter)
	}
	if !slices.Equal(after.DNSNames, before.DNSNames) || len(after.IPAddresses) != 1 {
		t.Errorf("its names are %v, %v", after.DNSNames, after.IPAddresses)
	}
}
