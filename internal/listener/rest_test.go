package listener

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/silent"
)

// The next listener at the address serves while the last one's requests go on.
func TestAKilledListenerLeavesItsRequestsToTheirOwner(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	var rest sync.WaitGroup
	begun, release := make(chan struct{}), make(chan struct{})
	closing, closed := context.WithCancel(t.Context())
	w, err := New(Config{
		Listener: first, Logger: silent.Logger{}, StopTimeout: time.Hour, Rest: &rest, Closing: closed,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-release
			_, _ = io.WriteString(w, "first")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan string, 1)
	go func() { slow <- get("http://" + address) }()
	<-begun
	w.Kill()
	if err := w.Wait(); err != nil || closing.Err() == nil {
		t.Fatalf("%v; its requests were told: %v", err, closing.Err())
	}

	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	next, err := New(Config{Listener: again, Logger: silent.Logger{}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "next")
	})})
	if err != nil {
		t.Fatal(err)
	}
	if text := get("http://" + address); text != "next" {
		t.Errorf("a new request is answered %q", text)
	}
	close(release)
	if text := <-slow; text != "first" {
		t.Errorf("the request in progress is answered %q", text)
	}
	rest.Wait()
	next.Kill()
	if err := next.Wait(); err != nil {
		t.Error(err)
	}
}

// get returns the body of an answer, or the error.
func get(url string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
