package accesstoken_test

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
)

func TestATokenIsReadBack(t *testing.T) {
	made := accesstoken.New()
	back, hash, err := accesstoken.Parse(" " + made.String() + "\n")
	if err != nil || back != made || hash != made.Hash() {
		t.Errorf("it comes back as another: %v", err)
	}
}

func TestAChangedTokenIsRefusedWithoutItsSecret(t *testing.T) {
	text := accesstoken.New().String()
	id, secret := text[5:21], text[22:]
	other := strings.Repeat("A", len(secret))
	for _, bad := range []string{
		"", "ixt1.", text[1:], text[:len(text)-1], text + "A", "ixt1." + id + "." + other, "ixt1." + id + "x." + secret, "ixj1" + text[4:],
		id + "." + secret, "ixt1." + id, "ixt1." + strings.Repeat("0", 16) + ".", "ixt1." + strings.Repeat("0", 16) + "." + other[1:] + "!",
		text[:len(text)-1] + sameBits(text[len(text)-1]),
	} {
		if _, _, err := accesstoken.Parse(bad); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// sameBits returns another character that stands for the same bits at the end of a secret,
// where only the first four count.
func sameBits(last byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[strings.IndexByte(digits, last)+1])
}

func TestWhatRulesAllow(t *testing.T) {
	for _, c := range []struct {
		rule string
		use  accesstoken.Use
		want bool
	}{
		{"lease:claim,extend:default/*", accesstoken.Use{Table: "lease", Verb: "extend", Key: "default/a"}, true},
		{"lease:claim,extend:default/*", accesstoken.Use{Table: "lease", Verb: "revoke", Key: "default/a"}, false},
		{"lease:claim,extend:default/*", accesstoken.Use{Table: "resource", Verb: "claim", Key: "default/a"}, false},
		{"lease:claim,extend:default/*", accesstoken.Use{Table: "lease", Verb: "claim", Key: "other/a"}, false},
		{"lease:claim,extend:default/*", accesstoken.Use{Table: "lease", Verb: "claim"}, false},
		{"lease:list:default/a*", accesstoken.Use{Table: "lease", Verb: "list", Key: "default/ab", Prefix: true}, true},
		{"lease:list:default/a*", accesstoken.Use{Table: "lease", Verb: "list", Key: "default/", Prefix: true}, false},
		{"lease:list:default/a", accesstoken.Use{Table: "lease", Verb: "list", Key: "default/a", Prefix: true}, false},
		{"lease:read:default/a", accesstoken.Use{Table: "lease", Verb: "read", Key: "default/a"}, true},
		{"lease:read:default/a", accesstoken.Use{Table: "lease", Verb: "read", Key: "default/ab"}, false},
		{"*:*:*", accesstoken.Use{Table: "lease", Verb: "watch", Prefix: true}, true},
		{"lease:claim:*:own", accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a", Holder: "ann"}, true},
		{"lease:claim:*:own", accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a", Holder: "bob"}, false},
		{"lease:claim:*", accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a", Holder: "bob"}, true},
		{"lease:claim:*:own", accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a"}, true},
		{"lease:revoke:*:own", accesstoken.Use{Table: "lease", Verb: "revoke", Key: "default/a", Held: "ann"}, true},
		{"lease:revoke:*:own", accesstoken.Use{Table: "lease", Verb: "revoke", Key: "default/a", Held: "bob"}, false},
		{"lease:claim:default/a", accesstoken.Use{Table: "lease", Key: "default/a"}, true}, // any verb will do
		{"lease:claim:default/a", accesstoken.Use{Table: "lease", Key: "default/b"}, false},
		{"lease:transfer:*:own", accesstoken.Use{Table: "lease", Verb: "transfer", Key: "default/a", Holder: "ann", Held: "ann"}, true},
		{"lease:transfer:*:own", accesstoken.Use{Table: "lease", Verb: "transfer", Key: "default/a", Holder: "ann", Held: "bob"}, false},
	} {
		r, err := interrex.ParseAccessRule(c.rule)
		if err != nil || r.String() != c.rule {
			t.Fatalf("%s is read as %s, %v", c.rule, r, err)
		}
		g := accesstoken.Grant{Name: "ann", Rules: []interrex.AccessRule{r}}
		if got := g.Allows(c.use); got != c.want {
			t.Errorf("%s allows %+v: %v", c.rule, c.use, got)
		}
		if g.Binds() != strings.HasSuffix(c.rule, ":own") {
			t.Errorf("%s binds its caller to its own name: %v", c.rule, g.Binds())
		}
	}
	if !(&accesstoken.Grant{Operator: true}).Allows(accesstoken.Use{Table: "lease", Verb: "claim", Key: "default/a"}) {
		t.Error("an operator may not do everything")
	}
}

func TestTheMissingRuleAllowsTheUse(t *testing.T) {
	for _, u := range []accesstoken.Use{
		{Table: "lease", Verb: "claim", Key: "default/a"}, {Table: "lease", Verb: "list", Key: "default/", Prefix: true}, {Table: "change", Verb: "append"},
		{Table: "lease", Verb: "read", Key: "default/" + strings.Repeat("é", 3000)}, // longer than a rule's prefix
	} {
		r, err := interrex.ParseAccessRule(u.Missing())
		if narrow := u.Key != "" && !u.Prefix && len(u.Key) < 512; narrow != (r.Prefix == u.Key) {
			t.Errorf("%s is not the narrowest one that allows %+v", u.Missing(), u)
		}
		if g := (&accesstoken.Grant{Rules: []interrex.AccessRule{r}}); err != nil || !g.Allows(u) {
			t.Errorf("%s does not allow %+v: %v", u.Missing(), u, err)
		}
	}
}
