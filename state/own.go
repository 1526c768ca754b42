package state

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
)

// OwnTable is where the state's own operations go.
const OwnTable TableID = 0

// The names under which the state's own section stands in a snapshot.
const (
	ownName    = "state"
	ownVersion = 1
)

// The state's own operations: a version, then one of these.
const (
	commandVersion     = 1
	commandSetIdentity = 1
	commandRetire      = 2
)

// Epoch tells recoveries of one cluster apart. Agents talk to an equal epoch
// only.
type Epoch struct {
	Number uint64
	Bits   uint64 // random, new with each epoch
}

// Identity says which history a state belongs to.
type Identity struct {
	ClusterID    string // 32 hexadecimal digits; empty: not set yet
	Epoch        Epoch
	Incarnations map[string]string // of each member's disk, by agent ID
}

// Settings are what Apply needs to know beside the state's content. They are
// replicated: every agent has the same.
type Settings struct {
	Window    int           // records of one name above its mark
	Names     int           // names of all callers
	NameAge   time.Duration // of cluster time after a name's last write
	Records   int           // records of other request ids
	RecordAge time.Duration // of cluster time after such a record was made
}

// defaultSettings are those of a new cluster.
func defaultSettings() Settings {
	return Settings{
		Window: 1024, Names: 65536, NameAge: 24 * time.Hour,
		Records: 65536, RecordAge: 10 * time.Minute,
	}
}

// own is the state's own section.
type own struct {
	identity Identity
	settings Settings
	records  *records
}

func newOwn() *own {
	o := &own{settings: defaultSettings()}
	o.records = newRecords(&o.settings)
	return o
}

// AppendSetIdentity appends the operation that a new cluster's first leader
// proposes: it says which cluster this is. Done again with the same cluster ID
// it changes nothing and takes no revision; with another it is KindConflict.
func AppendSetIdentity(b []byte, id Identity) []byte {
	return appendIdentity(append(b, commandVersion, commandSetIdentity), id)
}

// AppendRetire appends the operation with which a caller gives back the NAME
// of its request ids: its mark and its records are forgotten. It takes no
// revision, and giving back what is not known is no error.
func AppendRetire(b []byte, name string) []byte {
	return append(append(b, commandVersion, commandRetire), name...)
}

// ownKnown reports whether this build knows the own operation's version and
// command.
func ownKnown(data []byte) bool {
	return len(data) >= 2 && data[0] == commandVersion &&
		(data[1] == commandSetIdentity || data[1] == commandRetire)
}

// apply does one own operation that ownKnown has passed. No record is kept:
// doing one again is harmless.
func (o *own) apply(t *Turn, op *Operation) Result {
	args := op.Data[2:]
	if op.Data[1] == commandRetire {
		o.records.retire(op.Caller, string(args))
		return Result{Revision: t.Revision, Attempt: op.Attempt}
	}
	id, err := decodeIdentity(args)
	if err != nil {
		return refuse(op, interrex.Errorf(interrex.KindInvalid, "identity: %v", err))
	}
	if raw, err := hex.DecodeString(id.ClusterID); err != nil || len(raw) != 16 {
		return refuse(op, interrex.Errorf(interrex.KindInvalid, "identity: cluster ID %q is not 16 bytes in hexadecimal", id.ClusterID))
	}
	if mine := o.identity.ClusterID; mine != "" && mine != id.ClusterID {
		return refuse(op, interrex.Errorf(interrex.KindConflict, "identity: this is cluster %s, and cannot become %s", mine, id.ClusterID))
	}
	if o.identity.ClusterID == "" {
		t.Next()
		o.identity = id
	}
	return Result{Revision: t.Revision, Attempt: op.Attempt}
}

func appendIdentity(b []byte, id Identity) []byte {
	b = appendBytes(b, id.ClusterID)
	b = binary.AppendUvarint(b, id.Epoch.Number)
	b = binary.AppendUvarint(b, id.Epoch.Bits)
	b = binary.AppendUvarint(b, uint64(len(id.Incarnations)))
	for _, member := range slices.Sorted(maps.Keys(id.Incarnations)) {
		b = appendBytes(b, member)
		b = appendBytes(b, id.Incarnations[member])
	}
	return b
}

func decodeIdentity(b []byte) (Identity, error) {
	d := decoder{b: b}
	id := d.identity()
	return id, d.end()
}

// identity reads a copy: it outlives what it was read from.
func (d *decoder) identity() Identity {
	var id Identity
	id.ClusterID = strings.Clone(d.text())
	id.Epoch = Epoch{d.uvarint(), d.uvarint()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		if id.Incarnations == nil {
			id.Incarnations = map[string]string{}
		}
		member := strings.Clone(d.text())
		id.Incarnations[member] = strings.Clone(d.text())
	}
	return id
}

func (id Identity) clone() Identity {
	id.Incarnations = maps.Clone(id.Incarnations)
	return id
}
