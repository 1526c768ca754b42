package interrextest

import (
	"testing"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/transport"
)

// Certificates returns a function that issues the certificate of the agent with
// an ID, for agent.Config.TLS. All of them are from one authority, made for the
// test.
func Certificates(t testing.TB) func(id string) transport.TLS {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	return func(id string) transport.TLS {
		t.Helper()
		issued, err := ca.TLS(id)
		if err != nil {
			t.Fatal(err)
		}
		return issued
	}
}
