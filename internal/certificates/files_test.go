package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCertificateFilesAreTakenUpWhenTheyChange(t *testing.T) {
	ca, dir := must(DevCA()), t.TempDir()
	files := must(ca.Write(dir, "a"))
	first := must(files.Certificate())
	if again := must(files.Certificate()); again != first {
		t.Error("unchanged files were read again")
	}
	old := must(os.ReadFile(files.Key))

	must(ca.Write(dir, "a"))
	touch(t, dir)
	second := must(files.Certificate())
	if second.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("the new certificate was not taken up")
	}

	// Half of a new pair: the old one stays in force.
	if err := os.WriteFile(files.Key, old, 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, dir)
	if got, err := files.Certificate(); err != nil || got != second {
		t.Errorf("half a pair took the old one away: %v", err)
	}
	if err := files.Problem(); err == nil || !strings.Contains(err.Error(), "agent.key") {
		t.Errorf("Problem says %v", err)
	}
	if _, err := files.Roots(); err != nil {
		t.Error(err)
	}
}

// touch makes a change visible on file systems with coarse times.
func touch(t *testing.T, dir string) {
	t.Helper()
	at := time.Now().Add(time.Hour)
	for _, name := range must(filepath.Glob(filepath.Join(dir, "*"))) {
		if err := os.Chtimes(name, at, at.Add(time.Duration(must(os.Stat(name)).ModTime().Nanosecond()))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestANamedPipeIsNotWaitedFor(t *testing.T) {
	ca := must(DevCA())
	for name, pick := range map[string]func(*Files) *string{
		"ca": func(f *Files) *string { return &f.CA }, "cert": func(f *Files) *string { return &f.Cert }, "key": func(f *Files) *string { return &f.Key },
	} {
		files := must(ca.Write(t.TempDir(), "a"))
		pipe := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		*pick(files) = pipe
		problem := make(chan error, 1)
		go func() { problem <- files.Problem() }()
		select {
		case err := <-problem:
			if err == nil || !strings.Contains(err.Error(), pipe+" is not a regular file") {
				t.Errorf("%s: got %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: the reader hangs", name)
		}
	}
}

func TestUnfitFilesSayWhichAndWhatToDo(t *testing.T) {
	ca, other := must(DevCA()), must(DevCA())
	for want, spoil := range map[string]func(t *testing.T, f *Files){
		"cannot read a TLS file":               func(t *testing.T, f *Files) { f.CA = f.CA + ".gone" },
		"ca.pem: it has no certificate in PEM": func(t *testing.T, f *Files) { write(t, f.CA, "not PEM") },
		"agent.key: ":                          func(t *testing.T, f *Files) { write(t, f.Key, "not PEM") },
		"it must be issued by the CA of the":   func(t *testing.T, f *Files) { f.CA = must(other.Write(t.TempDir(), "a")).CA },
		"extendedKeyUsage serverAuth and": func(t *testing.T, f *Files) {
			reissue(t, ca, f, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
		},
		"extendedKeyUsage serverAuth": func(t *testing.T, f *Files) {
			reissue(t, ca, f, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] })
		},
		"it is for a, and this agent is b":       func(_ *testing.T, f *Files) { f.ID = "b" },
		"cannot use the pair of " + os.TempDir(): func(t *testing.T, f *Files) { f.Key = must(ca.Write(t.TempDir(), "a")).Key },
	} {
		t.Run(want, func(t *testing.T) {
			files := must(ca.Write(t.TempDir(), "a"))
			spoil(t, files)
			if _, err := files.Certificate(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q in: %v", want, err)
			}
		})
	}
}

func TestACertificateThatHasEndedIsUsedAndIsAProblem(t *testing.T) {
	ca := must(DevCA())
	files := must(ca.Write(t.TempDir(), "a"))
	reissue(t, ca, files, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) })
	if cert, err := files.Certificate(); err != nil || time.Now().Before(cert.Leaf.NotAfter) {
		t.Fatalf("%v", err)
	}
	if err := files.Problem(); err == nil || !strings.Contains(err.Error(), "issue a new one, or set the clock") {
		t.Errorf("its problem is %v", err)
	}
	reissue(t, ca, files, func(*x509.Certificate) {})
	good, err := files.Certificate()
	if err != nil || files.Problem() != nil || time.Now().After(good.Leaf.NotAfter) {
		t.Errorf("with a new one: %v, %v", err, files.Problem())
	}
	reissue(t, ca, files, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) })
	if cert, err := files.Certificate(); err != nil || cert != good || files.Problem() == nil {
		t.Errorf("one that has ended takes the place of one that has not: %v, %v", err, files.Problem())
	}
}

// An authority from elsewhere may have another one between itself and the agents.
func TestACertificateMayHaveAnotherAuthorityBehindIt(t *testing.T) {
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	root, rootKey, err := SelfSigned("root", from, until)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: root.Subject, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	rootOf := *template // without a limit on what follows
	rootCert := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, &rootOf, &rootOf, rootKey.Public(), rootKey))))
	template.SerialNumber, template.Subject.CommonName = newSerial(), "between"
	between := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, rootCert, key.Public(), rootKey))))
	files := must((&CA{between, key}).Write(t.TempDir(), "a"))
	if err := writePEM(files.CA, "CERTIFICATE", rootCert.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Certificate(); err == nil || !strings.Contains(err.Error(), "it must be issued by the CA") {
		t.Errorf("without the one between: %v", err)
	}
	leaf := must(os.ReadFile(files.Cert))
	write(t, files.Cert, string(leaf)+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: between.Raw})))
	if cert, err := files.Certificate(); err != nil || len(cert.Certificate) != 2 {
		t.Errorf("with the one between: %v", err)
	}
}

func TestOnlyItsOwnerReadsAnAgentsKey(t *testing.T) {
	files := must(must(DevCA()).Write(t.TempDir(), "a"))
	if mode := must(os.Stat(files.Key)).Mode().Perm(); mode != 0o600 {
		t.Errorf("its mode is %v", mode)
	}
}

func TestIDsThatAreNotValid(t *testing.T) {
	for _, id := range []string{"a", "n-1", "1", strings.Repeat("x", 63)} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "localhost", "A", "a.b", "a_b", "-a", "a-", "a/../b", strings.Repeat("x", 64)} {
		if CheckID(id) == nil {
			t.Errorf("%q is an ID", id)
		}
	}
	source := must(must(DevCA()).TLS("a"))
	if err := Check(source, "a"); err != nil {
		t.Error(err)
	}
	if err := Check(source, "b"); err == nil || !strings.Contains(err.Error(), "it is for a, and this agent is b") {
		t.Errorf("another agent's certificate: %v", err)
	}
}

func TestHandshakesAreOfTLS13AndAreNotResumed(t *testing.T) {
	ca := must(DevCA())
	source := must(ca.TLS("a"))
	own := must(source.Certificate())
	shared := len(own.Certificate)
	joining := must(Joining(source, "p", [][]byte{ca.cert.Raw}))
	for name, config := range map[string]*tls.Config{"server": must(Server(source, "p")), "client": must(Client(source, "a", "p")), "joining": joining} {
		if config.MinVersion != tls.VersionTLS13 || !config.SessionTicketsDisabled {
			t.Errorf("%s: from version %x on, resumed: %v", name, config.MinVersion, !config.SessionTicketsDisabled)
		}
	}
	if chain := joining.Certificates[0].Certificate; len(chain) != shared+1 || len(own.Certificate) != shared {
		t.Errorf("one that joins is shown %d certificates, and the agent has %d", len(chain), len(own.Certificate))
	}
}

func TestFilesWithoutACAGiveAPairAndTrustNobody(t *testing.T) {
	files := must(must(DevCA()).Write(t.TempDir(), "a"))
	files.CA = ""
	if _, err := files.Certificate(); err != nil {
		t.Error(err)
	}
	if roots, err := files.Roots(); err == nil {
		t.Errorf("got roots %v", roots)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reissue(t *testing.T, ca *CA, f *Files, change func(*x509.Certificate)) {
	t.Helper()
	if err := must(ca.TLS("a", change)).(*issued).write(f); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateCarriesOneID(t *testing.T) {
	for _, c := range []struct {
		names []string
		id    string
	}{
		{[]string{"a"}, "a"},
		{[]string{"a.example.org", "localhost", "a"}, "a"},
		{[]string{"a", "b"}, ""},
		{[]string{"a.example.org"}, ""},
		{[]string{"A"}, ""},
		{nil, ""},
	} {
		id, err := IDOf(&x509.Certificate{DNSNames: c.names})
		if (err == nil) != (c.id != "") || err == nil && id != c.id {
			t.Errorf("%q: got %q, %v", c.names, id, err)
		}
	}
}

// The authorities of callers are read again, too; a file that has none is not taken up.
func TestChangedAuthoritiesOfCallersAreTakenUp(t *testing.T) {
	dir := t.TempDir()
	first, err := DevCA()
	if err != nil {
		t.Fatal(err)
	}
	f, err := first.Write(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	callers := filepath.Join(dir, "callers.pem")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(callers, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	write(text)
	api := &Files{Cert: f.Cert, Key: f.Key, ClientCA: callers}
	before := api.Callers()
	if before == nil {
		t.Fatal("the authorities were not read")
	}
	write([]byte("nothing"))
	if api.Callers() != before || api.Problem() == nil {
		t.Errorf("a file without authorities: %v", api.Problem())
	}
	write(append(text, text...))
	for deadline := time.Now().Add(10 * time.Second); api.Callers() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the changed file is not in use: %v", api.Problem())
		}
	}
	if err := api.Problem(); err != nil {
		t.Error(err)
	}
}
