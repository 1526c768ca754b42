package featuretests

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
)

// line is one call of a history that is written by hand, from and to in seconds.
type line struct {
	verb     verb
	holder   string
	token    interrex.Token
	from, to int
	out      answer
}

func verdict(lines []line) porcupine.CheckResult {
	var h History
	for i, l := range lines {
		h.add(i, request{
			verb: l.verb, key: interrex.Key{Namespace: "a", Name: "b"}, holder: l.holder, token: l.token, ttl: 10 * time.Second,
			sent: time.Duration(l.from) * time.Second, answered: time.Duration(l.to) * time.Second,
		}, l.out)
	}
	return h.Check(leaseModel(), time.Minute)
}

func TestHonestHistoriesPass(t *testing.T) {
	for name, lines := range map[string][]line{
		"a lease is claimed, extended, revoked and claimed again": {
			{claim, "ann", 0, 0, 1, answer{result: granted, token: 3}},
			{claim, "bob", 0, 1, 2, answer{result: refused}},
			{extend, "", 3, 2, 3, answer{result: granted}},
			{get, "", 0, 11, 11, answer{granted, "ann", 3}},
			{revoke, "", 3, 11, 12, answer{result: granted}},
			{claim, "bob", 0, 12, 13, answer{result: granted, token: 5}},
		},
		"a lease runs out a ttl after the claim was sent": {
			{claim, "ann", 0, 0, 9, answer{result: granted, token: 3}},
			{claim, "bob", 0, 10, 10, answer{result: granted, token: 4}},
		},
		"a lease that has run out may still be there": {
			{claim, "ann", 0, 0, 1, answer{result: granted, token: 3}},
			{extend, "", 3, 40, 41, answer{result: granted}},
		},
		"a claim of unknown outcome was granted late": {
			{claim, "ann", 0, 0, 1, answer{result: unknown}},
			{get, "", 0, 2, 3, answer{result: refused}},
			{get, "", 0, 4, 5, answer{granted, "ann", 9}},
			{claim, "bob", 0, 6, 7, answer{result: refused}},
		},
		"a revoke of unknown outcome was done late": {
			{claim, "ann", 0, 0, 1, answer{result: granted, token: 3}},
			{revoke, "", 3, 1, 2, answer{result: unknown}},
			{extend, "", 3, 3, 4, answer{result: granted}},
			{claim, "bob", 0, 5, 6, answer{result: granted, token: 6}},
		},
	} {
		if got := verdict(lines); got != porcupine.Ok {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestBrokenHistoriesAreFound(t *testing.T) {
	held := line{claim, "ann", 0, 0, 1, answer{result: granted, token: 3}}
	for name, lines := range map[string][]line{
		"a lease is granted before it can have run out": {
			held, {claim, "bob", 0, 8, 9, answer{result: granted, token: 4}},
		},
		"an extended lease is granted after its first ttl": {
			held, {extend, "", 3, 5, 6, answer{result: granted}}, {claim, "bob", 0, 11, 12, answer{result: granted, token: 4}},
		},
		"a token comes again": {
			held, {revoke, "", 3, 2, 3, answer{result: granted}}, {claim, "bob", 0, 4, 5, answer{result: granted, token: 3}},
		},
		"a token falls": {
			held, {revoke, "", 3, 2, 3, answer{result: granted}}, {claim, "bob", 0, 4, 5, answer{result: granted, token: 2}},
		},
		"a dead token extends": {
			held, {revoke, "", 3, 2, 3, answer{result: granted}}, {extend, "", 3, 4, 5, answer{result: granted}},
		},
		"a living token is refused": {
			held, {extend, "", 3, 2, 3, answer{result: refused}},
		},
		"a read misses a lease": {
			held, {get, "", 0, 2, 3, answer{result: refused}},
		},
		"a read shows a lease that is over": {
			held, {revoke, "", 3, 2, 3, answer{result: granted}}, {get, "", 0, 4, 5, answer{granted, "ann", 3}},
		},
		"a free name is refused": {
			{claim, "ann", 0, 0, 1, answer{result: refused}},
		},
		"a claim of unknown outcome shows under a used token": {
			held, {revoke, "", 3, 2, 3, answer{result: granted}}, {claim, "bob", 0, 3, 4, answer{result: unknown}}, {get, "", 0, 4, 5, answer{granted, "bob", 3}},
		},
	} {
		if got := verdict(lines); got != porcupine.Illegal {
			t.Errorf("%s: %s, want it found", name, got)
		}
	}
}
