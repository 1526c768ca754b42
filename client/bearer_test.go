package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
)

func TestATokensFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	at := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer at.Close()
	b := &bearer{plain: newPlainly(http.DefaultTransport.(*http.Transport).Clone(), true), file: &accesstoken.File{Path: path}}
	defer b.CloseIdleConnections()
	sends := func(what, want string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := b.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		answer.Body.Close()
		if got != "Bearer "+want || r.Header.Get("Authorization") != "" {
			t.Errorf("%s: it sends %q, want %q; the caller's request has %v", what, got, want, r.Header)
		}
	}
	first, second := accesstoken.New().String(), accesstoken.New().String()
	begun := time.Now()
	write(first+"\n", begun)
	sends("the first", first)
	write(second, begun.Add(time.Second))
	sends("another one", second)
	write("half a tok", begun.Add(2*time.Second))
	sends("one that is being written", second)
	next := filepath.Join(filepath.Dir(path), "next") // as a Secret that is mounted is replaced
	if err := errors.Join(os.WriteFile(next, []byte(first), 0o600), os.Chtimes(next, begun.Add(time.Second), begun.Add(time.Second)), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	sends("without its file", second)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	sends("replaced by another file of the same time and size", first)
}

func TestATokenThatCannotBeReadIsSaidAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	b := &accesstoken.File{Path: path}
	if _, err := b.Token(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(path, []byte("ixt1.secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]Config{
		"no file": {TokenFile: path + ".no"}, "a bad file": {TokenFile: path}, "a bad text": {Token: "ixt1.secret"},
	} {
		if _, err := c.withToken(); interrex.KindOf(err) != interrex.ErrInvalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
