package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
)

func TestWhatIsAppendedIsRead(t *testing.T) {
	key := interrex.Key{Namespace: "default", Name: "db"}
	b := codec.AppendText(codec.AppendKey(nil, key), "text")
	b = codec.AppendBool(codec.AppendBool(b, true), false)
	b = binary.AppendVarint(b, -7)
	b = binary.AppendUvarint(b, uint64(time.Second))
	b = binary.AppendUvarint(b, math.MaxUint64)
	d := codec.NewDecoder(string(b) + "rest")
	if k, s, yes, no := d.Key(), d.Text(), d.Bool(), d.Bool(); k != key || s != "text" || !yes || no {
		t.Errorf("%v, %q, %v, %v", k, s, yes, no)
	}
	if n, life, most := d.Varint(), d.Duration(), d.Uvarint(); n != -7 || life != time.Second || most != math.MaxUint64 {
		t.Errorf("%d, %v, %d", n, life, most)
	}
	if !d.More() || d.Done() || d.Rest() != "rest" || !d.Done() {
		t.Error("the rest is lost")
	}
}

func TestAMalformedFieldIsRefused(t *testing.T) {
	uvarint := func(d *codec.Decoder) { d.Uvarint() }
	text := func(d *codec.Decoder) { d.Text() }
	for name, test := range map[string]struct {
		b    string
		read func(*codec.Decoder)
	}{
		"nothing":                {"", uvarint},
		"half a number":          {"\x80", uvarint},
		"a number with a zero":   {"\x81\x00", uvarint},
		"a number of 65 bits":    {strings.Repeat("\xff", 9) + "\x02", uvarint},
		"a number of 11 bytes":   {strings.Repeat("\xff", 10) + "\x01", uvarint},
		"a bool that is 2":       {"\x02", func(d *codec.Decoder) { d.Bool() }},
		"a text that is cut":     {"\x03ab", text},
		"a text of 2^63+1 bytes": {"\x81" + strings.Repeat("\x80", 8) + "\x01a", text},
	} {
		d := codec.NewDecoder(test.b)
		test.read(&d)
		if !d.Failed() || d.Done() || d.More() || d.Uvarint() != 0 || d.Text() != "" {
			t.Errorf("%s is read", name)
		}
	}
}

// broken is a writer that refuses from its second write on.
type broken struct{ writes int }

var errBroken = errors.New("no room")

func (b *broken) Write(p []byte) (int, error) {
	if b.writes++; b.writes > 1 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestItemsAreWrittenInChunksUntilAnError(t *testing.T) {
	to := &broken{}
	out := codec.NewItemWriter(to)
	out.Length(1000)
	written := 0
	for out.Item(append(out.Scratch[:0], make([]byte, 1000)...)) && written < 1000 {
		written++
	}
	if written < 65 || written > 200 {
		t.Errorf("%d items went before the error", written)
	}
	out.Item(nil)
	if err := out.Flush(); !errors.Is(err, errBroken) || to.writes != 2 {
		t.Errorf("%v after %d writes", err, to.writes)
	}
}

func TestItemsAreRead(t *testing.T) {
	var b bytes.Buffer
	out := codec.NewItemWriter(&b)
	out.Length(2)
	out.Item(codec.AppendText(nil, "one"))
	out.Item(codec.AppendText(nil, strings.Repeat("x", 1000)))
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		b    string
		most int
		want string
	}{
		"all":             {b.String(), 1002, ""},
		"a large item":    {b.String(), 1001, "more than the limit of an item"},
		"a cut item":      {b.String()[:500], 2000, "unexpected EOF"},
		"an item to come": {b.String()[:5], 2000, "EOF"},
		"one too many":    {b.String() + "x", 2000, "left over"},
		"no length":       {"", 2000, "the length of a list"},
		"a longer item":   {"\x01\x02\x00\x00", 2000, "malformed"},
	} {
		in := codec.NewItemReader(strings.NewReader(test.b), test.most)
		err := in.List(func(d *codec.Decoder) error { d.Text(); return nil })
		if err == nil {
			err = in.End()
		}
		if got := errorText(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestALongListComesInItsOrder(t *testing.T) {
	var b bytes.Buffer
	out := codec.NewItemWriter(&b)
	out.Length(1000)
	for i := range 1000 {
		out.Item(append(binary.AppendUvarint(out.Scratch[:0], uint64(i)), make([]byte, 1000)...))
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	in := codec.NewItemReader(&b, 2000)
	err := in.List(func(d *codec.Decoder) error {
		if got := d.Uvarint(); got != next {
			t.Errorf("item %d is %d", next, got)
		}
		next++
		d.Rest()
		return nil
	})
	if err != nil || next != 1000 || in.End() != nil {
		t.Errorf("%d items, %v", next, err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMetadataHasOneForm(t *testing.T) {
	m, err := codec.NewMetadata(map[string]string{"b": "2", "a": "1", "c": "", "d": "4", "e": "5"})
	if err != nil || m.Packed() != "\x01a\x011\x01b\x012\x01c\x00\x01d\x014\x01e\x015" {
		t.Errorf("%q, %v", m.Packed(), err)
	}
	if got := codec.UnpackedMetadata(m.Packed()).Map(); len(got) != 5 || got["b"] != "2" {
		t.Errorf("%v", got)
	}
	if none, err := codec.NewMetadata(nil); err != nil || none.Map() != nil || none != (codec.Metadata{}) {
		t.Errorf("none: %v, %v", none, err)
	}
	for packed, text := range map[string]string{
		"\x01b\x00\x01a\x00": "malformed", // out of order
		"\x01a\x00\x01a\x00": "malformed", // twice
		"\x01a":              "malformed", // no value
		"\x00\x011":          "a key is empty",
		"\x01a\x01\xff":      "is not UTF-8",
		"\x01\xff\x01a":      "is not UTF-8",
	} {
		if err := codec.UnpackedMetadata(packed).Validate(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, want %q", packed, err, text)
		}
	}
	for n, want := range map[int]interrex.Kind{codec.MaxMetadata - 1: "", codec.MaxMetadata: interrex.ErrTooLarge} {
		if _, err := codec.NewMetadata(map[string]string{"k": strings.Repeat("x", n)}); interrex.KindOf(err) != want {
			t.Errorf("%d bytes: %v", n+1, err)
		}
	}
}
