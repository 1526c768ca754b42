package interrex_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/validation"
)

func TestParseKeyTakesWhatTheContractAllows(t *testing.T) {
	for text, want := range map[string]interrex.Key{
		"db":                               {Namespace: "default", Name: "db"},
		"team/db":                          {Namespace: "team", Name: "db"},
		"team/db/1":                        {Namespace: "team", Name: "db/1"},
		"team//":                           {Namespace: "team", Name: "/"},
		"0.a_b-c/x y":                      {Namespace: "0.a_b-c", Name: "x y"},
		"a-/x":                             {Namespace: "a-", Name: "x"},
		"team/Zürich":                      {Namespace: "team", Name: "Zürich"},
		strings.Repeat("n", 63) + "/x":     {Namespace: strings.Repeat("n", 63), Name: "x"},
		"team/" + strings.Repeat("x", 512): {Namespace: "team", Name: strings.Repeat("x", 512)},
	} {
		got, err := interrex.ParseKey(text)
		if err != nil || got != want {
			t.Errorf("ParseKey(%q) = %#v, %v", text, got, err)
		}
		if again, err := interrex.ParseKey(got.String()); err != nil || again != want {
			t.Errorf("ParseKey(%q), of its String: %#v, %v", got.String(), again, err)
		}
	}
}

func TestParseKeyRefusesTheRestAndNamesThePart(t *testing.T) {
	for text, part := range map[string]string{
		"":                                 "name: 1 to 512 bytes",
		"team/":                            "name: 1 to 512 bytes",
		"/db":                              "namespace has 1 to 63 bytes",
		strings.Repeat("n", 64) + "/x":     "namespace has 1 to 63 bytes",
		"team/" + strings.Repeat("x", 513): "not 513",
		"team/" + strings.Repeat("ü", 257): "not 514",
		"Team/db":                          `namespace "Team"`,
		"_team/db":                         `namespace "_team"`,
		"-team/db":                         `namespace "-team"`,
		".team/db":                         `namespace ".team"`,
		"te am/db":                         `namespace "te am"`,
		"zürich/db":                        "namespace",
		"team/a\x00b":                      "U+0000",
		"team/a\nb":                        "U+000A",
		"team/a\x7fb":                      "U+007F",
		"team/a\xffb":                      "not UTF-8",
	} {
		_, err := interrex.ParseKey(text)
		if interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), part) {
			t.Errorf("ParseKey(%q): %v, want it to name %q", text, err, part)
		}
	}
}

func TestKeysAreOrderedByNamespaceThenName(t *testing.T) {
	want := []interrex.Key{
		{Namespace: "a", Name: "x"}, {Namespace: "a", Name: "x/y"}, {Namespace: "a", Name: "y"},
		{Namespace: "a-b", Name: "a"}, {Namespace: "a.b", Name: "a"}, {Namespace: "b", Name: "a"},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, interrex.Key.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("sorted: %v, want %v", got, want)
	}
}

func TestHolderAndOwnerHaveOneTo256Bytes(t *testing.T) {
	for field, validate := range map[string]func(string) error{
		"holder": validation.Holder, "owner": validation.Owner,
	} {
		for _, good := range []string{"a", "host/1/abc", "Jörg", strings.Repeat("x", 256)} {
			if err := validate(good); err != nil {
				t.Errorf("%s %q: %v", field, good, err)
			}
		}
		for _, bad := range []string{"", strings.Repeat("x", 257), "a\tb", "\xff"} {
			err := validate(bad)
			if interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), field+":") {
				t.Errorf("%s %q: %v", field, bad, err)
			}
		}
	}
}

func TestTokenAndRevisionAreDecimal(t *testing.T) {
	if got := interrex.Token(1<<63 + 7).String(); got != "9223372036854775815" {
		t.Errorf("token: %s", got)
	}
	if got := interrex.Revision(1<<63 + 7).String(); got != "9223372036854775815" {
		t.Errorf("revision: %s", got)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("team/db/1")
	f.Add("db")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := interrex.ParseKey(text)
		if err != nil {
			return
		}
		again, err := interrex.ParseKey(k.String())
		if err != nil || again != k || k.Compare(again) != 0 {
			t.Fatalf("%q is %#v, and its String %#v, %v", text, k, again, err)
		}
	})
}
