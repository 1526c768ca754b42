package lease

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/state"
)

// Transfer hands the lease to another holder under a new token. Metadata and
// pins stay.
type Transfer struct {
	Key   interrex.Key
	Token interrex.Token
	To    string
	TTL   time.Duration // the new ttl of the lease; 0: it stays
}

// About is part of state.Command.
func (c *Transfer) About() state.About { return state.About{Name: "transfer", Key: c.Key} }

// Announce is part of state.Announcer.
func (c *Transfer) Announce() state.Announcement {
	return state.Announcement{Kinds: []string{interrex.LeaseTransferred}, Key: c.Key.String()}
}

// Shows is part of machine.Tokened.
func (c *Transfer) Shows() (interrex.Key, interrex.Token) { return c.Key, c.Token }

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Transfer) Validate() error {
	if err := validateToken(c.Token); err != nil {
		return err
	}
	if err := validation.NewHolder(c.To); err != nil {
		return err
	}
	return validateOwnTTL(c.TTL)
}

// Append encodes the command.
func (c *Transfer) Append(b []byte) []byte {
	b = binary.AppendUvarint(codec.AppendKey(append(b, opTransfer), c.Key), uint64(c.Token))
	return binary.AppendUvarint(codec.AppendText(b, c.To), uint64(c.TTL))
}

func (c *Transfer) decode(d codec.Decoder) codec.Decoder {
	*c = Transfer{Key: d.Key(), Token: interrex.Token(d.Uvarint()), To: d.Text(), TTL: d.Duration()}
	return d
}

func (c *Transfer) check(t *Table, _ state.Time) *interrex.Error {
	return t.checkToken("transfer", c.Key, c.Token)
}

// weigh is part of weighing.
func (c *Transfer) weigh(t *Table, sum *capacity.Load) {
	if l, there := t.rows.Get(join(c.Key)); there {
		sum.Bytes += int64(len(c.To) - len(l.holder))
	}
}

func (c *Transfer) apply(t *Table, turn *state.Turn) *Reply {
	old, _ := t.rows.Get(join(c.Key))
	l := newRow(c.Key, c.To)
	l.metadata = old.metadata
	l.ttl = ttlOr(c.TTL, old.ttl)
	t.succeed(turn, old, l, interrex.EndTransferred)
	reply := &Reply{Lease: l.record()}
	emit(turn, interrex.LeaseTransferred, reply.Lease)
	return reply
}
