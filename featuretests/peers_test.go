package featuretests

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// curled is what curl would see of the first agent's API.
func (f *fleet) curled(token, method, path, body string) (int, string) {
	f.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.read(filepath.Join(f.data(0), "ca.pem")))
	by := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(f.t.Context(), method, "https://"+f.members[0].config.API.Listen+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := by.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestPeersAreListedAddedAndRemovedOverHTTP(t *testing.T) {
	t.Parallel()
	f := founded(t)
	f.start(0)
	f.answers(0)
	operator := strings.TrimSpace(string(f.read(filepath.Join(f.data(0), "operator.token"))))
	reader := f.mustRun("token", "create", "--name", "reader", "--rule", "member:list:*", "--addr", f.socket(0))
	for _, c := range []struct {
		token, method, body string
		status              int
		text                string
	}{
		{operator, "GET", "", 200, `{"peers":[{"id":"n1","address":"` + f.members[0].config.Cluster.Listen + `",`},
		{operator, "POST", `{"id":"n2","address":"127.0.0.1:9"}`, 200, `"peer":{"id":"n2","address":"127.0.0.1:9","api_address":"","suffrage":"","leader":false}`},
		{operator, "POST", `{"id":"n2","address":"127.0.0.1:9"}`, 200, `"peer":{"id":"n2"`},
		{operator, "POST", `{"id":"n2","address":"127.0.0.1:10"}`, 409, "there is a member n2 already"},
		{operator, "POST", `{"id":"n3","address":"nowhere"}`, 400, "address: "},
		{operator, "POST", `{"id":"n3","address":"127.0.0.1:9","port":1}`, 400, `give one object such as {\"id\"`},
		{operator, "POST", `{"id":"n3","address":"127.0.0.1:9"} {}`, 400, "give one object"},
		{operator, "POST", ``, 400, "give one object"},
		{operator, "PUT", `{}`, 405, "takes GET, POST, DELETE"},
		{reader, "GET", "", 200, `{"id":"n2"`},
		{reader, "POST", `{"id":"n3","address":"127.0.0.1:9"}`, 403, "only an operator may call interrex.v1.MemberService/Add"},
		{reader, "DELETE", `{"id":"n2"}`, 403, "only an operator may call interrex.v1.MemberService/Remove"},
		{"", "GET", "", 401, "needs an access token"},
		{operator, "DELETE", `{"id":"n2"}`, 200, `{"revision":`},
		{operator, "DELETE", `{"id":"n2"}`, 404, "n2"},
		{operator, "DELETE", `{"id":"never"}`, 404, "never"},
	} {
		if status, text := f.curled(c.token, c.method, "/peers", c.body); status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.body, status, text, c.status, c.text)
		}
	}
	if status, text := f.curled(operator, "GET", "/peers?consistency=strong&min_revision=0", ""); status != 200 || strings.Contains(text, "n2") {
		t.Errorf("after the removal: %d %s", status, text)
	}
}
