package apiserver

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

func TestJSONThatCannotBeReadNamesTheFieldAndWhatIsAllowed(t *testing.T) {
	claim, get, propose, operate := &interrexv1.ClaimRequest{}, &interrexv1.GetRequest{}, &interrexv1.ProposeRequest{}, &interrexv1.OperateRequest{}
	long := strings.Repeat("x", 200)
	for _, test := range []struct {
		m          proto.Message
		text, want string
	}{
		{claim, `{"key":"a/b","ttl":"30m"}`, `ttl: "30m" is not valid: give seconds, such as "1800s"`},
		{claim, `{"ttl":"1 h 30 m"}`, `ttl: "1 h 30 m" is not valid: give seconds, such as "5400s"`},
		{claim, `{"ttl":15}`, `ttl: 15 is not valid: give seconds, such as "15s"`},
		{claim, `{"ttl":"soon"}`, `ttl: "soon" is not valid: give seconds, such as "1800s" or "1.5s"`},
		{claim, `{"key":7}`, `key: 7 is not valid: give a text in quotes`},
		{claim, `{"takeover":"yes"}`, `takeover: "yes" is not valid: give true or false, without quotes`},
		{claim, `{"attempt":-1}`, `attempt: -1 is not valid: give a whole number from 0 to 4294967295`},
		{claim, `{"key":` + "\t" + `[ "` + long + `" ]}`, `key: [ "` + long[:61] + `... is not valid: give a text in quotes`},
		{claim, `{"fence":{"token":"mine"}}`, `fence.token: "mine" is not valid: give a whole number from 0 to 18446744073709551615`},
		{claim, `{"fence":3}`, `fence: 3 is not valid: give an object, such as {"key": ...}`},
		{claim, `{"fence":{"tokn":3}}`, `fence.tokn: Fence has no such field: did you mean "token"? the fields are key, token`},
		{claim, `{"metadata":{"a":"b","c":3}}`, `metadata.c: 3 is not valid: give a text in quotes`},
		{claim, `{"metadata":["a"]}`, `metadata: ["a"] is not valid: give an object, such as {"a": ...}`},
		{claim, `{"tll":"3s"}`, `tll: ClaimRequest has no such field: did you mean "ttl"? the fields are key, holder, ttl, request_id, attempt, wait, takeover, metadata, fence`},
		{claim, `{"unheard-of":1}`, `unheard-of: ClaimRequest has no such field: the fields are key, holder, ttl, request_id, attempt, wait, takeover, metadata, fence`},
		{claim, `[]`, `body: [] is not valid: give an object, such as {"key": ...}`},
		{claim, `null`, `body: null is not valid: give an object, such as {"key": ...}`},
		{claim, ` `, `body: it is empty: send {} for a ClaimRequest without fields`},
		{claim, "{\"key\":\"a\",\n  \"holder\":}", `body: it is not JSON: line 2, column 12: invalid character '}' looking for beginning of value`},
		{claim, `{"key":`, `body: it is not JSON: line 1, column 7: unexpected end of JSON input`},
		{claim, `{} {}`, `body: it is not JSON: line 1, column 4: invalid character '{' after top-level value`},
		{claim, "{\"key\":\"\xff\"}", `body: it is not UTF-8`},
		{claim, `{"key":"a","key":"b"}`, `body: cannot read a ClaimRequest: (line 1:12): duplicate field "key"`},
		{get, `{"consistency":"STRONG"}`, `consistency: "STRONG" is not valid: give one of "CONSISTENCY_EVENTUAL", "CONSISTENCY_STRONG"`},
		{get, `{"minRevision":1.5}`, `min_revision: 1.5 is not valid: give a whole number from 0 to 18446744073709551615`},
		{propose, `{"data":"!!"}`, `data: "!!" is not valid: give base64 in quotes, such as "aGVsbG8="`},
		{operate, `{"operations":[{"id":"1"},{"id":"one"}]}`, `operations[1].id: "one" is not valid: give a whole number from 0 to 18446744073709551615`},
		{operate, `{"operations":{}}`, `operations: {} is not valid: give a list in brackets`},
		{&interrexv1.Lease{}, `{"acquired_at":"today"}`, `acquired_at: "today" is not valid: give a time of RFC 3339, such as "2026-01-31T12:00:00Z"`},
	} {
		err := jsonCodec{"json"}.Unmarshal([]byte(test.text), test.m.ProtoReflect().New().Interface())
		if got := interrex.ErrInvalid.Error() + ": " + test.want; err == nil || err.Error() != got {
			t.Errorf("%s\nis  %v\nnot %s", test.text, err, got)
		}
	}
}

// Everything that protojson refuses has an error of ours, and what it accepts has
// none.
func FuzzMisread(f *testing.F) {
	f.Add([]byte(`{"key":"a/b","ttl":"30m","metadata":{"a":1},"fence":{"token":"x"}}`))
	f.Add([]byte(strings.Repeat(`{"fence":`, 40)))
	f.Fuzz(func(t *testing.T, text []byte) {
		want := protojson.Unmarshal(text, &interrexv1.ClaimRequest{})
		err := jsonCodec{"json"}.Unmarshal(text, &interrexv1.ClaimRequest{})
		if (err == nil) != (want == nil) || err != nil && interrex.KindOf(err) != interrex.ErrInvalid {
			t.Fatalf("%q: %v, and protojson says %v", text, err, want)
		}
	})
}

// A body that is large, or a field that has many elements, is not searched for
// what is wrong: that would cost the agent much more than the caller.
func TestTheSearchForWhatIsWrongIsBounded(t *testing.T) {
	many := func(n int, last string) string {
		var b strings.Builder
		b.WriteString(`{"key":"a","metadata":{`)
		for i := range n {
			fmt.Fprintf(&b, `"k%06d":"v",`, i)
		}
		return b.String() + last + `}}`
	}
	for what, text := range map[string]string{
		"a large body":           `{"metadata":{"` + strings.Repeat("k", maxMisread) + `":1}}`,
		"many elements":          many(maxMisreadItems, `"z":1`),
		"a long key":             `{"metadata":{"` + strings.Repeat("k", 1000) + `":1}}`,
		"a long field":           `{"` + strings.Repeat("k", 1000) + `":1}`,
		"a large body of a list": `{"operations":[` + strings.Repeat(`{},`, maxMisread/3) + `3]}`,
	} {
		m := &interrexv1.ClaimRequest{}
		why := protojson.Unmarshal([]byte(text), m)
		if why == nil {
			t.Fatalf("%s: it can be read", what)
		}
		if err := misread([]byte(text), m.ProtoReflect(), why); !errors.Is(err, interrex.ErrInvalid) || len(err.Error()) > 2*maxShownReason {
			t.Errorf("%s: an error of %d bytes: %.200s", what, len(err.Error()), err)
		}
	}
	text := []byte(many(maxMisreadItems, `"z":1`))
	if err := misread(text, (&interrexv1.ClaimRequest{}).ProtoReflect(), errors.New("what protojson says")); !strings.HasSuffix(err.Error(), "cannot read a ClaimRequest: what protojson says") {
		t.Errorf("many elements were looked at: %v", err)
	}
}
