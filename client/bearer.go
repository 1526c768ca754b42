package client

import (
	"net/http"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
)

// bearer adds the access token to each request.
type bearer struct {
	plain plainly
	token string            // it does not change
	file  *accesstoken.File // nil: token is used
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token := b.token
	if b.file != nil {
		var err error
		if token, err = b.file.Token(); err != nil {
			return nil, err
		}
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.plain.RoundTrip(r)
}

// CloseIdleConnections is for http.Client.
func (b *bearer) CloseIdleConnections() { b.plain.CloseIdleConnections() }

// withToken returns a configuration whose access token was read once, so that a bad
// one is told at once. The error is ErrInvalid.
func (c Config) withToken() (_ Config, err error) {
	switch {
	case c.TokenFile != "":
		_, err = accesstoken.ReadFile(c.TokenFile)
	case c.Token != "":
		c.Token, err = accesstoken.Check(c.Token)
	}
	if err != nil {
		return c, interrex.Errorf(interrex.ErrInvalid, "client: %v", err)
	}
	return c, nil
}
