package featuretests

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// The first token closes an open API, and is made by a caller of that, who must get it
// through any agent, and can use it at any other at once.
func TestWhoeverMakesTheFirstTokenGetsIt(t *testing.T) {
	f := newFleet(t, 3, nil)
	for i := range 3 {
		f.answers(i)
	}
	to := func(i int, token string) *client.Client {
		return dial(t, client.Config{Addresses: []string{"http://" + f.members[i].config.API.Listen}, Token: token})
	}
	rest := f.others(f.leader())
	secret, _, err := to(rest[0], "").Tokens().Create(t.Context(), interrex.AccessTokenRequest{Name: "first", Operator: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := to(rest[1], secret).Tokens().Create(t.Context(), interrex.AccessTokenRequest{Name: "second", Operator: true}); err != nil {
		t.Errorf("at another agent: %v", err)
	}
}
