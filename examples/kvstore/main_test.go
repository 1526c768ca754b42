package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

func TestTheStoreIsAStateMachine(t *testing.T) {
	interrextest.CheckFSM(t, interrextest.FSMConfig{
		New: new(kv).newStore,
		Command: func(r *rand.Rand) []byte {
			data, _ := json.Marshal(change{[]string{"set", "set", "delete", "other"}[r.IntN(4)], fmt.Sprint("k", r.IntN(5)), fmt.Sprint(r.IntN(100))})
			return data
		},
	})
}

// ask makes one request, and returns its status and body.
func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := hc.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestOneAgentServesTheStore(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- run(ctx, agent.Config{}, "127.0.0.1:0", func(a string) { address <- a }) }()
	url := "http://" + <-address + "/colour"
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"GET", "", 404, `there is no key "colour"`},
		{"PUT", "blue", 200, `before: ""`},
		{"PUT", "red", 200, `before: "blue"`},
		{"GET", "", 200, "red"},
		{"DELETE", "", 200, `before: "red"`},
		{"DELETE", "", 404, `not found: there is no key "colour"`},
		{"POST", "", 405, "GET, PUT and DELETE"},
	} {
		if status, text := ask(t, c.method, url, c.body); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.body, status, text, c.status, c.want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestThreeAgentsKeepOneStore(t *testing.T) {
	programs := make([]*kv, 3)
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(i int, c *agent.Config) {
		programs[i] = &kv{}
		c.FSM = programs[i].newStore
	}})
	for i := range programs {
		programs[i].agent = c.Agent(i)
		put(t, programs[i], fmt.Sprint("k", i), "v")
	}
	lost := c.Leader()
	c.Crash(lost)
	put(t, programs[(lost+1)%3], "k3", "v")
	c.Start(lost)
	for i, p := range programs {
		for _, key := range []string{"k0", "k1", "k2", "k3"} {
			for end := time.Now().Add(interrextest.Patience); ; time.Sleep(10 * time.Millisecond) {
				if value, _ := p.store.Load().get(key); value == "v" {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("agent %d never has %s", i, key)
				}
			}
		}
	}
}

// put sets a key through one program.
func put(t *testing.T, k *kv, key, value string) {
	t.Helper()
	w := httptest.NewRecorder()
	k.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/"+key, strings.NewReader(value)))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", key, w.Code, w.Body)
	}
}
