package interrex_test

import (
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/validation"
)

func TestLimitsOfARequestAreToldInOneWay(t *testing.T) {
	k := interrex.Key{Namespace: "a", Name: "x"}
	for _, c := range []struct {
		err  error
		want string // empty: allowed
	}{
		{interrex.ValidateTTL(interrex.MinTTL), ""},
		{interrex.ValidateTTL(interrex.MaxTTL), ""},
		{interrex.ValidateTTL(0), "ttl: 200 ms to 24 h are allowed, not 0s"},
		{interrex.ValidateTTL(interrex.MinTTL - 1), "ttl: 200 ms to 24 h are allowed, not 199.999999ms"},
		{interrex.ValidateTTL(25 * time.Hour), "ttl: 200 ms to 24 h are allowed, not 25h0m0s"},
		{validation.Wait(0), ""},
		{validation.Wait(time.Hour), ""},
		{validation.Wait(-time.Second), "wait: 0 s to 1 h are allowed, not -1s"},
		{validation.Wait(2 * time.Hour), "wait: 0 s to 1 h are allowed, not 2h0m0s"},
		{validation.RequestID(""), ""},
		{validation.RequestID(strings.Repeat("i", 64)), ""},
		{validation.RequestID(strings.Repeat("i", 65)), "request_id: at most 64 bytes are allowed, not 65"},
		{validation.RequestID("\xff"), `request_id: "\xff" is not UTF-8`},
		{interrex.Fence{}.Validate(), ""},
		{interrex.Fence{Key: k, Token: 1}.Validate(), ""},
		{interrex.Fence{Key: k}.Validate(), "fence: token: missing: give the token under which a/x is held"},
		{interrex.Fence{Key: interrex.Key{Namespace: "a"}, Token: 1}.Validate(), "fence: key: name: 1 to 512 bytes are allowed, not 0"},
	} {
		got, kind := "", interrex.Kind("")
		if c.err != nil {
			got, kind = strings.TrimPrefix(c.err.Error(), "invalid: "), interrex.ErrInvalid
		}
		if got != c.want || interrex.KindOf(c.err) != kind {
			t.Errorf("%q of kind %q, want %q", got, interrex.KindOf(c.err), c.want)
		}
	}
}

func TestAWatchIsOfOneKeyOrOfMany(t *testing.T) {
	k := interrex.Key{Namespace: "a", Name: "x"}
	for _, r := range []interrex.WatchRequest{{}, {Key: k, Since: 7}, {Namespace: "a", Prefix: "x"}, {Prefix: "x"}} {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, r := range []interrex.WatchRequest{
		{Key: k, Namespace: "a"}, {Key: k, Prefix: "x"}, {Key: interrex.Key{Name: "x"}}, {Namespace: "A"},
	} {
		if err := r.Validate(); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
