package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// anyOf packs a message.
func anyOf(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAnAnyComesBackFromJSON(t *testing.T) {
	document, err := structpb.NewStruct(map[string]any{"port": 80, "tags": []any{"a", nil, true}})
	if err != nil {
		t.Fatal(err)
	}
	for want, a := range map[string]*anypb.Any{
		`"value":{"port":80,"tags":["a",null,true]}`:         anyOf(t, document),
		`"value":"2026-01-02T03:04:05Z"`:                     anyOf(t, &timestamppb.Timestamp{Seconds: 1767323045}),
		`"@type":"example.com/x.Unknown","value":"aGVsbG8="`: {TypeUrl: "example.com/x.Unknown", Value: []byte("hello")},
		`"@type":"x.Empty","value":""`:                       {TypeUrl: "x.Empty"},
	} {
		page := &interrexv1.ResourceServiceListResponse{Items: []*interrexv1.Resource{{Version: "1", Metadata: map[string]string{"a": "b"}}, {Data: a}, {Data: anyOf(t, document)}}}
		text, err := wire.AppendJSON([]byte("head"), page)
		if err != nil {
			t.Errorf("%v: %v", a, err)
			continue
		}
		var plain []byte
		if text = text[len("head"):]; json.Valid(text) {
			plain = []byte(strings.ReplaceAll(string(text), ", ", ","))
		}
		if !strings.Contains(string(plain), want) {
			t.Errorf("%v is %s, want %s", a, text, want)
		}
		back := &interrexv1.ResourceServiceListResponse{}
		if err := wire.UnmarshalJSON(text, back); err != nil || !proto.Equal(back, page) {
			t.Errorf("%s comes back as %v, %v", text, back, err)
		}
	}
}

// A value that is not of its type does no harm: it is shown as bytes.
func TestAnAnyThatIsNotOfItsTypeIsShownAsBytes(t *testing.T) {
	for _, a := range []*anypb.Any{
		{TypeUrl: "type.googleapis.com/google.protobuf.Struct", Value: []byte("hello")},
		anyOf(t, &timestamppb.Timestamp{Seconds: 1 << 60}),
		anyOf(t, structpb.NewNumberValue(math.Inf(1))),
		anyOf(t, &anypb.Any{TypeUrl: "example.com/x.Unknown", Value: []byte("hello")}),
	} {
		text, err := wire.AppendJSON(nil, &interrexv1.Resource{Data: a, Version: "7"})
		var out struct {
			Version string
			Data    struct {
				Type  string `json:"@type"`
				Value []byte
			}
		}
		if err != nil || json.Unmarshal(text, &out) != nil || out.Version != "7" || out.Data.Type != a.TypeUrl || string(out.Data.Value) != string(a.Value) {
			t.Errorf("%v is %s, %v", a, text, err)
		}
	}
}

// Of several Anys of one type, only the one that cannot be written out is shown as
// bytes.
func TestAnAnyThatIsShownAsBytesChangesNoOther(t *testing.T) {
	whole := anyOf(t, &structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("#[{")}})
	deep := &structpb.ListValue{}
	for range 1000 {
		deep = &structpb.ListValue{Values: []*structpb.Value{structpb.NewListValue(deep)}}
	}
	for _, odd := range []*anypb.Any{{TypeUrl: whole.TypeUrl, Value: []byte("hello")}, anyOf(t, deep)} {
		page := &interrexv1.ResourceServiceListResponse{Items: []*interrexv1.Resource{{Data: whole}, {Data: odd}}}
		text, err := wire.AppendJSON(nil, page)
		var out struct {
			Items []struct {
				Data struct {
					Type  string `json:"@type"`
					Value any
				}
			}
		}
		if err != nil || json.Unmarshal(text, &out) != nil || len(out.Items) != 2 {
			t.Fatalf("%s, %v", text, err)
		}
		first, second := out.Items[0].Data, out.Items[1].Data
		if list, is := first.Value.([]any); !is || len(list) != 1 || list[0] != "#[{" {
			t.Errorf("the first is %v", first)
		}
		if second.Type != odd.TypeUrl || second.Value != base64.StdEncoding.EncodeToString(odd.Value) {
			t.Errorf("the second is %.200v", second)
		}
	}
}

func TestJSONHasTheNamesOfTheProtoAndItsZeros(t *testing.T) {
	text, err := wire.AppendJSON(nil, &interrexv1.ResourceServiceListResponse{NextPageToken: "x"})
	if err != nil || !strings.Contains(string(text), `"next_page_token"`) || !strings.Contains(string(text), `"items"`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestAnAnyThatCannotBeReadIsAnError(t *testing.T) {
	for _, text := range []string{
		`{"data":{"@type":"example.com/x.Unknown"}}`,
		`{"data":{"@type":"example.com/x.Unknown","value":7}}`,
		`{"data":{"@type":"example.com/x.Unknown","value":"aGVsbG8=","more":1}}`,
		`{"data":{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"example.com/x.Unknown","value":"aGVsbG8="}}}`,
		`{"data":{"port":80}}`,
		`{"unheard":1}`,
	} {
		m := &interrexv1.Resource{}
		if err := wire.UnmarshalJSON([]byte(text), m); err == nil {
			t.Errorf("%s is read as %v", text, m)
		}
	}
	if err := wire.UnmarshalJSON([]byte(`{"data":`+strings.Repeat(`{"a":`, 100_000)), &interrexv1.Resource{}); err == nil {
		t.Error("a deep text is read")
	}
}

// nested returns n nested Anys around a Struct, as JSON and as a message.
func nested(t *testing.T, n int, inner string) (text string, m *anypb.Any) {
	t.Helper()
	data, err := structpb.NewStruct(map[string]any{"@type": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = anypb.New(data); err != nil {
		t.Fatal(err)
	}
	for range n - 1 {
		if m, err = anypb.New(m); err != nil {
			t.Fatal(err)
		}
	}
	const before = `{"@type":"type.googleapis.com/google.protobuf.Any","value":`
	return strings.Repeat(before, n-1) + `{"@type":"type.googleapis.com/google.protobuf.Struct","value":` + inner + `}` + strings.Repeat("}", n-1), m
}

// The content of an Any is decoded again for each Any that contains it.
func TestAnysInOneAnotherAreBounded(t *testing.T) {
	const most = 16
	escaped := func(s string) string { return strings.ReplaceAll(s, "@type", `\u0040type`) }
	documents := strings.Repeat(`{"@type":"Thing","a":`, 40) + "1" + strings.Repeat("}", 40)
	for n, good := range map[int]bool{1: true, most: true, most + 1: false, 1000: false} {
		text, m := nested(t, n, documents) // as of JSON-LD, which are no Anys
		for _, text := range []string{text, escaped(text)} {
			err := wire.UnmarshalJSON([]byte(text), &anypb.Any{})
			if bounded := err != nil && strings.Contains(err.Error(), "is nested more than"); bounded == good {
				t.Errorf("%d: %v", n, err)
			}
		}
		shown, err := wire.AppendJSON(nil, &interrexv1.GroupRequest{Operations: []*anypb.Any{m, m}})
		if err != nil {
			t.Errorf("%d: %v", n, err)
		}
		if whole := strings.Contains(string(shown), "Struct"); whole != good || strings.Contains(string(shown), `"value":"`) == good {
			t.Errorf("%d: %.300s", n, shown)
		}
		var back interrexv1.GroupRequest
		if err := wire.UnmarshalJSON(shown, &back); good && (err != nil || !proto.Equal(back.Operations[1], m)) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestAnysTooDeepInOneAnotherAreNotReadToBeShown(t *testing.T) {
	_, m := nested(t, 3000, `{}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := wire.AppendJSON(nil, m)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > 16<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
