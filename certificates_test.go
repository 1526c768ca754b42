package interrex_test

import (
	"crypto/x509"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/check"
)

// TestTheRecipeForCertificatesWorks does what docs/certificates.md says, and
// looks at the result as an agent does.
func TestTheRecipeForCertificatesWorks(t *testing.T) {
	for _, tool := range []string{"bash", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the recipe needs %s: %v", tool, err)
		}
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(readText(t, "docs/certificates.md"), -1)
	if len(blocks) < 7 {
		t.Fatalf("%d blocks", len(blocks))
	}
	home := t.TempDir()
	recipe := exec.Command("bash", "-euc", blocks[0][1]+blocks[1][1]+blocks[2][1]+blocks[5][1]+blocks[6][1])
	recipe.Env = append(recipe.Environ(), "HOME="+home)
	out, err := recipe.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if ok := strings.Count(string(out), ".pem: OK"); ok != 10 {
		t.Errorf("%d of 10 checks are OK:\n%s", ok, out)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		c, err := config.Source{Path: filepath.Join(home, "interrex", id+".yaml")}.Load()
		if err != nil {
			t.Fatal(err)
		}
		files := certificates.Files{CA: c.Cluster.TLS.CA, Cert: c.Cluster.TLS.Cert, Key: c.Cluster.TLS.Key}
		cert, err := files.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		if named, err := certificates.IDOf(cert.Leaf); err != nil || named != id || c.Agent.ID != id {
			t.Errorf("the certificate of %s is of %s, %v", c.Agent.ID, named, err)
		}
		api, _, err := check.APITLS(c.API.TLS)
		if err != nil || api.Callers() == nil {
			t.Fatalf("the API's files: %+v, %v", c.API.TLS, err)
		}
		cert, err = api.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: "127.0.0.1", Roots: api.Callers()}); err != nil {
			t.Errorf("the API's certificate of %s: %v", id, err)
		}
	}
}
