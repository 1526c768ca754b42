package wire

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

func TestARequestHasAsManyValuesAsItsSizeAllows(t *testing.T) {
	for what, c := range map[string]struct {
		data string
		want interrex.Kind
	}{
		"a group of nothing":     {strings.Repeat("\x0a\x00", 1<<20), interrex.ErrTooLarge},
		"a group of what is big": {strings.Repeat("\x0a\xa0\x01"+"\x12\x9d\x01"+strings.Repeat("x", 157), 1000), ""},
		"a small one":            {strings.Repeat("\x0a\x00", 1000), ""},
	} {
		if err := (RequestCodec{}).Unmarshal([]byte(c.data), &interrexv1.GroupRequest{}); interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v", what, err)
		}
	}
	inner := strings.Repeat("\x22\x00", 1<<20) // rules of a token, within an unknown message
	if err := (RequestCodec{}).Unmarshal([]byte(inner), &interrexv1.TokenServiceCreateRequest{}); interrex.KindOf(err) != interrex.ErrTooLarge {
		t.Errorf("nested: %v", err)
	}
}

// The stack is as deep as what is nested: a value of 4 MiB would need half a GiB of it.
func TestWhatIsNestedTooDeeplyIsRefusedBeforeItIsCounted(t *testing.T) {
	var body []byte // a list in a list, and so on
	for range protowire.DefaultRecursionLimit {
		list := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), body)
		body = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), list)
	}
	data := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), body)
	if n, err := values(data, (&interrexv1.ChangeServiceAppendRequest{}).ProtoReflect().Descriptor(), protowire.DefaultRecursionLimit); !errors.Is(err, errNested) {
		t.Errorf("%d values are counted: %v", n, err)
	}
	if err := (RequestCodec{}).Unmarshal(data, &interrexv1.ChangeServiceAppendRequest{}); err == nil || !strings.Contains(err.Error(), "nested more than 10000 deep") {
		t.Error(err)
	}
}

func TestADocumentHasAsManyValuesAsItsSizeAllows(t *testing.T) {
	for what, c := range map[string]struct {
		text string
		want interrex.Kind
	}{
		"many objects":    {"[" + strings.Repeat("{},", 1<<20) + "{}]", interrex.ErrTooLarge},
		"many numbers":    {"[" + strings.Repeat("0,", 1<<20) + "0]", interrex.ErrTooLarge},
		"commas in texts": {`["` + strings.Repeat(`,\"{[`, 1<<18) + `"]`, ""},
		"some thousands":  {"[" + strings.Repeat("0,", 10_000) + "0]", ""},
		"long values":     {"[" + strings.Repeat(`"0123456789",`, 1<<18) + "0]", ""},
	} {
		if err := CheckJSON([]byte(c.text)); interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
