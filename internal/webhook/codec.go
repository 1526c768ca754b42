package webhook

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
)

func appendSpec(b []byte, s *Spec) []byte {
	b = codec.AppendText(codec.AppendText(codec.AppendText(b, s.Name), s.URL), string(s.When))
	b = codec.AppendTexts(codec.AppendTexts(b, s.Kinds), s.Prefixes)
	b = binary.AppendUvarint(b, uint64(len(s.Headers)))
	for _, h := range s.Headers {
		b = codec.AppendText(codec.AppendText(b, h.Name), string(h.Value))
	}
	b = binary.AppendUvarint(b, uint64(s.Timeout))
	return codec.AppendBool(codec.AppendText(b, string(s.OnFailure)), s.DryRun)
}

func appendHook(b []byte, h *Hook) []byte {
	b = codec.AppendText(appendSpec(b, &h.Spec), string(h.Secret))
	for _, n := range []uint64{
		uint64(h.Created), uint64(h.Revision), uint64(h.Position), uint64(h.SkippedFrom), uint64(h.SkippedTo), h.Skipped,
	} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// decoder reads what the append functions wrote.
type decoder struct{ codec.Decoder }

func newDecoder(b string) *decoder { return &decoder{codec.NewDecoder(b)} }

func (d *decoder) revision() interrex.Revision { return interrex.Revision(d.Uvarint()) }

// count reads a length of at most most.
func (d *decoder) count(most int) uint64 {
	n := d.Uvarint()
	if n > uint64(most) {
		d.Fail()
		return 0
	}
	return n
}

func (d *decoder) texts(most int) (all []string) {
	for n := d.count(most); n > 0; n-- {
		all = append(all, d.Text())
	}
	return all
}

// maxKinds is more than the number of kinds.
const maxKinds = 64

func (d *decoder) spec() Spec {
	s := Spec{
		Name: d.Text(), URL: d.Text(), When: interrex.WebhookWhen(d.Text()),
		Kinds: d.texts(maxKinds), Prefixes: d.texts(maxPrefixes),
	}
	for n := d.count(maxHeaders); n > 0; n-- {
		s.Headers = append(s.Headers, Header{Name: d.Text(), Value: Secret(d.Text())})
	}
	s.Timeout = d.Duration()
	s.OnFailure, s.DryRun = interrex.WebhookPolicy(d.Text()), d.Bool()
	return s
}

func (d *decoder) hook() *Hook {
	return &Hook{
		Spec: d.spec(), Secret: Secret(d.Text()),
		Created: d.revision(), Revision: d.revision(), Position: d.revision(),
		SkippedFrom: d.revision(), SkippedTo: d.revision(), Skipped: d.Uvarint(),
	}
}
