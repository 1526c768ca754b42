package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPageOfAnotherSiteMustNotUseTheAPI(t *testing.T) {
	local := Entrance{Loopback: true, Names: []string{"db1", "", "api.example"}}
	for what, c := range map[string]struct {
		at      Entrance
		method  string
		host    string
		headers map[string]string
		refused string
	}{
		"a program":                     {local, "POST", "127.0.0.1:7400", nil, ""},
		"by name":                       {local, "POST", "localhost:7400", nil, ""},
		"in capitals, with a dot":       {local, "POST", "LocalHost.:7400", nil, ""},
		"IPv6":                          {local, "POST", "[::1]:7400", nil, ""},
		"IPv6 without a port":           {local, "POST", "[::1]", nil, ""},
		"another loopback address":      {local, "GET", "127.0.0.9", nil, ""},
		"this machine's name":           {local, "POST", "DB1:7400", nil, ""},
		"its advertised name":           {local, "GET", "api.example", nil, ""},
		"HTTP/1.0":                      {local, "POST", "", nil, ""},
		"a name that was pointed here":  {local, "POST", "evil.example:7400", nil, "Host"},
		"read by such a name":           {local, "GET", "evil.example", nil, "Host"},
		"a name that begins like ours":  {local, "POST", "localhost.evil.example", nil, "Host"},
		"no name":                       {local, "POST", ":7400", nil, "Host"},
		"an address of elsewhere":       {local, "POST", "10.0.0.1:7400", nil, "Host"},
		"any name beyond loopback":      {Entrance{}, "POST", "evil.example:7400", nil, ""},
		"a page of its own":             {local, "POST", "localhost:7400", map[string]string{"Origin": "http://localhost:7400"}, ""},
		"a page of its own that reads":  {local, "GET", "localhost:7400", map[string]string{"Origin": "http://localhost:7400"}, ""},
		"a page of another site":        {local, "POST", "localhost:7400", map[string]string{"Origin": "http://evil.example"}, "Origin"},
		"one that reads":                {local, "GET", "localhost:7400", map[string]string{"Origin": "http://evil.example"}, "Origin"},
		"one without an origin":         {local, "POST", "localhost:7400", map[string]string{"Origin": "null"}, "Origin"},
		"on another port":               {local, "POST", "localhost:7400", map[string]string{"Origin": "http://localhost:8080"}, "Origin"},
		"a form of another site":        {local, "POST", "localhost:7400", map[string]string{"Sec-Fetch-Site": "cross-site"}, "Origin"},
		"a link from another site":      {local, "GET", "localhost:7400", map[string]string{"Sec-Fetch-Site": "cross-site"}, ""},
		"another site, beyond loopback": {Entrance{}, "POST", "api:7400", map[string]string{"Origin": "http://evil.example"}, "Origin"},
	} {
		r := httptest.NewRequest(c.method, "/kv/x", nil)
		r = r.WithContext(WithEntrance(context.Background(), c.at, func() {}))
		r.Host = c.host
		for name, value := range c.headers {
			r.Header.Set(name, value)
		}
		w, served := httptest.NewRecorder(), false
		Enter(nil, http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) { served = got.Method == c.method })).ServeHTTP(w, r)
		if served != (c.refused == "") || !served && (w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), c.refused+": ")) {
			t.Errorf("%s: served %v, status %d, %s", what, served, w.Code, w.Body)
		}
	}
}
