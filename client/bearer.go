package client

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
)

// bearer adds the access token to each request.
type bearer struct {
	plain plainly
	path  string // of its file; empty: it does not change

	mu    sync.Mutex
	token string
	seen  fs.FileInfo // of the file when it was read
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.current()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.plain.RoundTrip(r)
}

// CloseIdleConnections is for http.Client.
func (b *bearer) CloseIdleConnections() { b.plain.CloseIdleConnections() }

// current returns the token. While its file cannot be read, it is the one of before.
func (b *bearer) current() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" {
		return b.token, nil
	}
	now, err := os.Stat(b.path)
	if err == nil && b.seen != nil && os.SameFile(now, b.seen) && now.ModTime().Equal(b.seen.ModTime()) && now.Size() == b.seen.Size() {
		return b.token, nil
	}
	if err == nil {
		var token string
		if token, err = readToken(b.path); err == nil {
			b.token, b.seen = token, now
		}
	}
	if b.token == "" {
		return "", err
	}
	return b.token, nil
}

// readToken reads an access token's file.
func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the access token: %w", err)
	}
	return checkToken(string(text))
}

// checkToken returns the text of an access token without the space around it.
func checkToken(text string) (string, error) {
	if _, _, err := accesstoken.Parse(text); err != nil {
		return "", err
	}
	return strings.TrimSpace(text), nil
}

// withToken returns a configuration whose access token was read once, so that a bad
// one is told at once. The error is ErrInvalid.
func (c Config) withToken() (_ Config, err error) {
	switch {
	case c.TokenFile != "":
		_, err = readToken(c.TokenFile)
	case c.Token != "":
		c.Token, err = checkToken(c.Token)
	}
	if err != nil {
		return c, interrex.Errorf(interrex.ErrInvalid, "client: %v", err)
	}
	return c, nil
}
