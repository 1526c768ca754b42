package wire

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

func TestAnErrorNamesKeysAsTheirUserWroteThem(t *testing.T) {
	missing := interrex.Errorf(interrex.ErrNotFound, "interrex.Value/default/team/a/b does not exist at revision 7")
	missing.RetryAfter = 3
	for _, x := range []struct {
		namespace string
		err       error
		want      string
	}{
		{"team", missing, "not found: key a/b does not exist at revision 7"},
		{"", missing, missing.Error()}, // of another namespace
		{"", interrex.Errorf(interrex.ErrCASFailure, "operation 2: interrex.Value/default/default/a does not exist"), "cas failure: operation 2: key a does not exist"},
		{"", interrex.Errorf(interrex.ErrVetoed, "webhook guard: no interrex.Value/default/default/a"), "vetoed: webhook guard: no interrex.Value/default/default/a"},
		{"", errors.New("interrex.Value/default/default/a"), "interrex.Value/default/default/a"},
	} {
		if got := KeyError(x.namespace, x.err); got.Error() != x.want {
			t.Errorf("%v: %v", x.err, got)
		}
	}
	if got := KeyError("team", missing).(*interrex.Error); got.RetryAfter != 3 || got.Kind != interrex.ErrNotFound || missing.Message == got.Message {
		t.Errorf("%+v of %+v", got, missing)
	}
	if KeyError("", nil) != nil {
		t.Error("nil is an error")
	}
}

func TestOperationsOfKeysAreRead(t *testing.T) {
	got, err := ValueOperations("team", []byte(`{"operations":[
		{"put":{"key":"a","value":"x","version":"7"}}, {"put":{"key":"b","value_base64":"/w==","version":"0"}}, {"put":{"key":"c","value":""}},
		{"delete":{"key":"d","version":"8"}}, {"check":{"key":"e","version":"0"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	write := func(key, value, version string, create, overwrite bool) proto.Message {
		m, err := WriteValue(ValueID("team", key), []byte(value), version, create)
		if err != nil || m.GetOverwrite() != overwrite {
			t.Fatalf("%v, %v", m, err)
		}
		return m
	}
	id := func(key string) *interrexv1.ResourceID { return ResourceID(ValueID("team", key)) }
	for i, want := range []proto.Message{
		write("a", "x", "7", false, false), write("b", "\xff", "", true, false), write("c", "", "", false, true),
		&interrexv1.ResourceServiceDeleteRequest{Id: id("d"), Version: "8"}, &interrexv1.ResourceServiceCheckRequest{Id: id("e"), Version: "0"},
	} {
		if !proto.Equal(got[i], want) {
			t.Errorf("%v, want %v", got[i], want)
		}
	}
}

func TestWhatIsWrongWithOperationsOfKeysIsSaid(t *testing.T) {
	const form = `invalid: body: it is not one {"operations": [...]}`
	for body, want := range map[string]string{
		`{"operations":[{"put":{"key":"a","value":"\xff"}}]}`:                               form,
		`{"operations":[],"operations":[]}`:                                                 form,
		`{"operation":[]}`:                                                                  form,
		`{"` + strings.Repeat("x", 600) + `":1}`:                                            strings.Repeat("x", 400),
		`{"operations":[{"check":{"key":"a"}},{}]}`:                                         "invalid: operation 2: give one of put, delete and check",
		`{"operations":[{"put":{"key":"a","value":"1"},"check":{"key":"a"}}]}`:              "invalid: operation 1: give one of",
		`{"operations":[{"put":{"key":"a","value":"1"},"delete":{"key":"a"}}]}`:             "invalid: operation 1: give one of",
		`{"operations":[{"delete":{"key":"a"},"check":{"key":"a"}}]}`:                       "invalid: operation 1: give one of",
		`{"operations":[{"put":{"key":"a"}}]}`:                                              "invalid: operation 1: put: give one of",
		`{"operations":[{"put":{"key":"a","value":"1","value_base64":"MQ=="}}]}`:            "invalid: operation 1: put: give one of",
		`{"operations":[{"put":{"key":"","value":"1"}}]}`:                                   "invalid: operation 1: key: ",
		`{"operations":[{"delete":{"key":""}}]}`:                                            "invalid: operation 1: key: ",
		`{"operations":[{"check":{"key":"` + strings.Repeat("x", 513) + `"}}]}`:             "invalid: operation 1: key: ",
		`{"operations":[{"put":{"key":"a","value":"` + strings.Repeat("x", 1<<20) + `"}}]}`: "too large: operation 1: ",
	} {
		if got, err := ValueOperations("", []byte(body)); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 700 {
			t.Errorf("%.100s: %v, %.900v, want %s", body, len(got), err, want)
		}
	}
}
