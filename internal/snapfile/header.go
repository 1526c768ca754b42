package snapfile

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
)

// Header says what a snapshot shows.
type Header struct {
	ClusterID string // empty: the cluster had none yet
	Epoch     interrex.Epoch
	Index     uint64 // log index of the last entry in it
	Term      uint64
	Revision  interrex.Revision
	Floor     interrex.Revision // no feed goes back further
	Time      int64             // cluster time, in nanoseconds
}

// Section begins one table's part of a snapshot.
type Section struct {
	Table   uint16 // 0: the state itself
	Name    string
	Version uint16
}

var errMalformed = errors.New("it is malformed")

func appendHeader(b []byte, h Header) []byte {
	b = codec.AppendText(b, h.ClusterID)
	b = binary.AppendUvarint(b, h.Epoch.Number)
	b = binary.AppendUvarint(b, h.Epoch.Bits)
	b = binary.AppendUvarint(b, h.Index)
	b = binary.AppendUvarint(b, h.Term)
	b = binary.AppendUvarint(b, uint64(h.Revision))
	b = binary.AppendUvarint(b, uint64(h.Floor))
	return binary.AppendVarint(b, h.Time)
}

func decodeHeader(b []byte) (Header, error) {
	d := codec.NewDecoder(string(b))
	h := Header{ClusterID: d.Text()}
	h.Epoch.Number = d.Uvarint()
	h.Epoch.Bits = d.Uvarint()
	h.Index = d.Uvarint()
	h.Term = d.Uvarint()
	h.Revision = interrex.Revision(d.Uvarint())
	h.Floor = interrex.Revision(d.Uvarint())
	h.Time = d.Varint()
	if !d.Done() {
		return Header{}, errMalformed
	}
	return h, nil
}

func appendSection(b []byte, s Section) []byte {
	b = binary.AppendUvarint(b, uint64(s.Table))
	b = binary.AppendUvarint(b, uint64(s.Version))
	return codec.AppendText(b, s.Name)
}

func decodeSection(b []byte) (Section, error) {
	d := codec.NewDecoder(string(b))
	table, version, name := d.Uvarint(), d.Uvarint(), strings.Clone(d.Text())
	if !d.Done() || table > math.MaxUint16 || version > math.MaxUint16 {
		return Section{}, errMalformed
	}
	return Section{Table: uint16(table), Version: uint16(version), Name: name}, nil
}
