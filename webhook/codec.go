package webhook

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
)

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, s := range texts {
		b = appendText(b, s)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendSpec(b []byte, s *Spec) []byte {
	b = appendText(appendText(appendText(b, s.Name), s.URL), string(s.When))
	b = appendTexts(appendTexts(b, s.Kinds), s.Prefixes)
	b = binary.AppendUvarint(b, uint64(len(s.Headers)))
	for _, h := range s.Headers {
		b = appendText(appendText(b, h.Name), string(h.Value))
	}
	b = binary.AppendUvarint(b, uint64(s.Timeout))
	return appendBool(appendText(b, string(s.OnFailure)), s.DryRun)
}

func appendHook(b []byte, h *Hook) []byte {
	b = appendText(appendSpec(b, &h.Spec), string(h.Secret))
	for _, n := range []uint64{
		uint64(h.Created), uint64(h.Revision), uint64(h.Position), uint64(h.SkippedFrom), uint64(h.SkippedTo), h.Skipped,
	} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// decoder reads what the append functions wrote. The first malformed field sets
// failed, and everything after it is zero. The texts that it gives are parts of
// rest.
type decoder struct {
	rest   string
	failed bool
}

// done reports whether everything was there and nothing is left.
func (d *decoder) done() bool { return !d.failed && d.rest == "" }

func (d *decoder) fail() { d.rest, d.failed = "", true }

// uvarint demands the shortest form, so that equal values are equal bytes.
func (d *decoder) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if c == 0 && i > 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		d.rest = d.rest[i+1:]
		return v
	}
	d.fail()
	return 0
}

func (d *decoder) revision() interrex.Revision { return interrex.Revision(d.uvarint()) }

// count reads a length of at most so many.
func (d *decoder) count(most int) uint64 {
	n := d.uvarint()
	if n > uint64(most) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) bool() bool {
	v := d.uvarint()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) texts(most int) (all []string) {
	for n := d.count(most); n > 0; n-- {
		all = append(all, d.text())
	}
	return all
}

// maxKinds is more than the kinds that there are.
const maxKinds = 64

func (d *decoder) spec() Spec {
	s := Spec{
		Name: d.text(), URL: d.text(), When: interrex.WebhookWhen(d.text()),
		Kinds: d.texts(maxKinds), Prefixes: d.texts(interrex.MaxWebhookPrefixes),
	}
	for n := d.count(interrex.MaxWebhookHeaders); n > 0; n-- {
		s.Headers = append(s.Headers, Header{Name: d.text(), Value: Secret(d.text())})
	}
	s.Timeout = time.Duration(d.uvarint())
	s.OnFailure, s.DryRun = interrex.WebhookPolicy(d.text()), d.bool()
	return s
}

func (d *decoder) hook() *Hook {
	return &Hook{
		Spec: d.spec(), Secret: Secret(d.text()),
		Created: d.revision(), Revision: d.revision(), Position: d.revision(),
		SkippedFrom: d.revision(), SkippedTo: d.revision(), Skipped: d.uvarint(),
	}
}
