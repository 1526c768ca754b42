package assembly

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/pipe"
	"github.com/interrex/interrex/internal/testworker"
)

func TestAPortThatOthersReachIsClosedUnlessItSaysOtherwise(t *testing.T) {
	for what, c := range map[string]struct {
		api              config.API
		closed, loopback bool
	}{
		"every address":         {config.API{Listen: ":7400"}, true, false},
		"one of this machine":   {config.API{Listen: "10.0.0.1:7400"}, true, false},
		"open":                  {config.API{Listen: "10.0.0.1:7400", Open: true}, false, false},
		"with certificates":     {config.API{Listen: "10.0.0.1:7400", TLS: config.APITLS{ClientCA: "ca.pem"}}, false, false},
		"this machine only":     {config.API{Listen: "127.0.0.1:7400"}, false, true},
		"this machine, by name": {config.API{Listen: "localhost:7400"}, false, true},
	} {
		if e := entrance(c.api); e.Closed != c.closed || e.Loopback != c.loopback {
			t.Errorf("%s: %+v", what, e)
		}
	}
	if e := entrance(config.API{Listen: "127.0.0.1:7400", Advertise: "api.example:7400"}); len(e.Names) != 2 || e.Names[1] != "api.example" {
		t.Errorf("the advertised name is not one of this machine's: %+v", e)
	}
}

// Before there is a token, a port that other machines reach serves none of them.
func TestAPortAsksOfEachRequestWhatItsAddressDemands(t *testing.T) {
	for what, c := range map[string]struct {
		api    config.API
		known  bool // only callers with a certificate
		host   string
		status int
	}{
		"beyond this machine":                    {config.API{Listen: "0.0.0.0:7400"}, false, "a1:7400", http.StatusUnauthorized},
		"beyond this machine, open":              {config.API{Listen: "0.0.0.0:7400", Open: true}, false, "a1:7400", http.StatusOK},
		"beyond this machine, with certificates": {config.API{Listen: "0.0.0.0:7400"}, true, "a1:7400", http.StatusUnauthorized},
		"this machine":                           {config.API{Listen: "127.0.0.1:7400"}, false, "localhost:7400", http.StatusOK},
		"this machine, another name":             {config.API{Listen: "127.0.0.1:7400"}, false, "other.example", http.StatusForbidden},
	} {
		synctest.Test(t, func(t *testing.T) {
			port, scheme := pipe.Listen(), "http://"
			if !strings.HasPrefix(c.api.Listen, "127.") {
				c.api.TLS, scheme = pair(t), "https://"
				if !c.known {
					c.api.TLS.ClientCA = ""
				}
			}
			w := newWorld(t, func(a *AgentConfig) {
				a.API = c.api
				a.Listen = func(_, address string) (net.Listener, error) {
					if address == c.api.Listen {
						return port, nil
					}
					return pipe.Listen(), nil
				}
			})
			w.settle(t)
			client := &http.Client{Transport: &http.Transport{DialContext: port.Dial, DisableKeepAlives: true,
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // who it is does not matter here
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, scheme+c.host+interrexv1.EngineServiceStatusProcedure, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != c.status {
				t.Errorf("%s: %s", what, answer.Status)
			}
			testworker.Stop(t, w.engine)
		})
	}
}

// pair writes a certificate and its key.
func pair(t *testing.T) config.APITLS {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	return config.APITLS{Cert: files.Cert, Key: files.Key, ClientCA: files.CA}
}
