package agent_test

import (
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/testport"
)

// reloadable is an agent that listens on a port of its own, and the file that it
// reads at the next reload.
func reloadable(t *testing.T, set ...func(*agent.Config)) (*agent.Agent, func(change func(*config.Config))) {
	t.Helper()
	var mu sync.Mutex
	next := config.Config{Agent: config.Agent{ID: "a1"}, API: config.API{Listen: "127.0.0.1:0"}}.WithDefaults()
	c := quiet(t)
	c.API = next.API
	c.Load = func() (config.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		return next, nil
	}
	for _, set := range set {
		set(&c)
	}
	a := newAgent(t, c)
	start(t, a)
	return a, func(change func(*config.Config)) {
		mu.Lock()
		defer mu.Unlock()
		change(&next)
	}
}

// taken is an address that somebody else listens on.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// alive asks whether an API answers there.
func alive(url string) error {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Get(url + "/livez")
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func starts(a *agent.Agent, worker string) any {
	return a.Report()["manifolds"].(map[string]any)[worker].(map[string]any)["start-count"]
}

func TestAReloadThatFailsChangesNothingAndSaysEveryProblem(t *testing.T) {
	a, write := reloadable(t)
	address, port := a.Addrs()["api"], taken(t)
	missing := filepath.Join(t.TempDir(), "none.pem")
	write(func(c *config.Config) {
		c.API.Listen, c.API.TLS = port, config.APITLS{Cert: missing, Key: missing}
		c.Cluster.Listen, c.Cluster.TLS = "127.0.0.1:0", config.TLSFiles{CA: missing, Cert: missing, Key: missing}
		c.Logging.Config, c.Logging.Format = "<root>=LOUD", "json"
		c.Notify.LeaseHolders = missing
		c.Agent.ID, c.Agent.DataDir = "a2", "/nosuch"
		c.API.Socket = filepath.Join(missing, "s")
		c.Features.Leases = config.Off
	})
	_, err := a.Reload()
	if err == nil {
		t.Fatal("it was taken up")
	}
	for _, want := range []string{
		"api.listen: listen tcp " + port, "address already in use", "api.tls.cert: open " + missing, "api.tls.key: open",
		"cluster.tls.ca: open", "cluster.tls.key: open", "logging.config", "logging.format: changing it", "agent.id: changing it", "agent.data-dir: changing it", "api.socket: stat " + missing, "notify.lease-holders",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
	if err := alive("http://" + address); err != nil || a.Addrs()["api"] != address {
		t.Errorf("the API is at %s: %v", a.Addrs()["api"], err)
	}
	if _, err := claim(t, a, "db", "ann"); err != nil {
		t.Errorf("a claim after it: %v", err)
	}
	for _, worker := range []string{"api", "api-listener", "transport", "feature-leases"} {
		if n := starts(a, worker); n != 1 {
			t.Errorf("%s was started %v times", worker, n)
		}
	}
}

func TestAReloadThatFailsLeavesNoPortBound(t *testing.T) {
	a, write := reloadable(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	write(func(c *config.Config) { c.API.Listen, c.Logging.Format = address, "json" })
	if _, err := a.Reload(); err == nil {
		t.Fatal("it was taken up")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the new address is bound still: %v", err)
	}
	_ = l.Close()
}

func TestAReloadTriesTheClusterAddressAndTheDatabaseToo(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	a, write := reloadable(t, func(c *agent.Config) {
		c.Postgres = func(string) (*sql.DB, error) { return nil, errors.New("no such server") }
	})
	port, url := taken(t), filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(url, []byte("postgres://127.0.0.1:1/none"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(func(c *config.Config) {
		c.Cluster.Listen, c.Cluster.TLS = port, config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
		c.Notify.LeaseHolders = url
	})
	_, err = a.Reload()
	for _, want := range []string{"cluster.listen: listen tcp " + port, "notify.lease-holders: ", "no such server"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
}

func TestAReloadOfTheSameChangesNothing(t *testing.T) {
	bare := func(c *agent.Config) {
		c.Load = func() (config.Config, error) { // without the defaults
			return config.Config{Agent: config.Agent{ID: "a1"}, API: config.API{Listen: "127.0.0.1:0"}}, nil
		}
	}
	a, _ := reloadable(t, bare)
	if changed, err := a.Reload(); err != nil || len(changed) > 0 {
		t.Errorf("it changes %q, %v", changed, err)
	}
}

func TestAReloadMovesTheAPI(t *testing.T) {
	a, write := reloadable(t)
	old := a.Addrs()["api"]
	address := free(t)
	write(func(c *config.Config) { c.API.Listen = address })
	if changed, err := a.Reload(); err != nil || len(changed) != 1 || changed[0] != "api" {
		t.Fatalf("got %q, %v", changed, err)
	}
	// Its port is bound already: a connection waits for its listener.
	if err := alive("http://" + address); err != nil {
		t.Errorf("the new address: %v", err)
	}
	waitFor(t, errGone, func() error {
		if alive("http://"+old) != nil && a.Addrs()["api"] == address {
			return errGone
		}
		return errors.New("the old address answers still")
	})
	_, port, _ := net.SplitHostPort(address)
	write(func(c *config.Config) { c.API.Listen = "127.0.0.2:" + port })
	if _, err := a.Reload(); err != nil {
		t.Errorf("another host with the same port: %v", err)
	}
}

// The next listener does not wait for them.
func TestAReloadOfTheAPIEndsItsStreams(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	a, write := reloadable(t)
	address := a.Addrs()["api"]
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	write(func(c *config.Config) { c.API.TLS = config.APITLS{Cert: files.Cert, Key: files.Key} })
	if changed, err := a.Reload(); err != nil || len(changed) != 1 || changed[0] != "api" {
		t.Fatalf("got %q, %v", changed, err)
	}
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), "event: draining") {
		t.Errorf("the stream ends with %q, %v", text, err)
	}
	if err := alive("https://" + address); err != nil {
		t.Errorf("the API with TLS: %v", err)
	}
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", testport.Ports(t, 1)[0])
}

func TestReloadsFollowEachOtherAtOnce(t *testing.T) {
	a, write := reloadable(t)
	reload := func(change func(*config.Config)) {
		t.Helper()
		write(change)
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	first, second := free(t), free(t)
	listen := func(address string) func(*config.Config) {
		return func(c *config.Config) { c.API.Listen = address }
	}
	for _, leases := range []config.Switch{config.Off, config.On} {
		reload(listen(first))
		reload(func(c *config.Config) { c.Features.Leases = leases })
		reload(listen(second))
		reload(listen(first))
	}
	bound := func(want map[string]any) func() error {
		return func() error {
			ports := a.Report()["manifolds"].(map[string]any)["ports"].(map[string]any)["report"]
			if !reflect.DeepEqual(ports, want) {
				return fmt.Errorf("the ports are %v", ports)
			}
			return nil
		}
	}
	waitFor(t, nil, bound(map[string]any{"api": first}))
	waitFor(t, nil, func() error { return alive("http://" + first) })
	reload(listen(second))
	reload(listen(""))
	waitFor(t, nil, bound(map[string]any{}))
}

var errGone = errors.New("gone")

func TestAnAddressThatStaysIsBoundThroughAReload(t *testing.T) {
	a, write := reloadable(t)
	address := a.Addrs()["api"] // of port 0, which would be another one if it was bound again
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	write(func(c *config.Config) { c.API.TLS = config.APITLS{Cert: files.Cert, Key: files.Key} })
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, nil, func() error { return alive("https://" + address) })
	if got := a.Addrs()["api"]; got != address {
		t.Errorf("the API is at %s, it was at %s", got, address)
	}
	other, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	write(func(c *config.Config) { c.API.TLS.Key = other.Key })
	if _, err := a.Reload(); err == nil || !strings.Contains(err.Error(), "private key does not match") {
		t.Errorf("a key of another certificate: %v", err)
	}
	if err := alive("https://" + address); err != nil {
		t.Error(err)
	}
}

func TestAnAPIPortThatIsGivenByTheSystemIsTheOneThatOthersHear(t *testing.T) {
	a, _ := reloadable(t)
	bound := a.Addrs()["api"]
	if got := a.Status().APIAddress; got != bound || strings.HasSuffix(got, ":0") {
		t.Errorf("the API's address is said to be %q, it is %q", got, bound)
	}
}
