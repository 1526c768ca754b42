package peering

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/peerlogs"
)

// Protocol is the version of the protocol between agents. Agents whose versions
// differ by at most one work together.
const Protocol = 5

// The limits of a hello: 4 KiB and 5 s, TLS handshake included. The reason for a
// refusal has its own part of the 4 KiB.
const (
	maxFrame         = 4 << 10
	handshakeTimeout = 5 * time.Second
)

// Met is an agent that another agent has met itself.
type Met struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"`
	Address     string `json:"address"` // cluster address, host:port
}

// Hello is how an agent describes itself at the beginning of each connection.
// Unknown fields are ignored, so that the next version may add some.
type Hello struct {
	Protocol  int            `json:"protocol"`
	ClusterID string         `json:"cluster_id,omitempty"` // empty: in no cluster yet
	Epoch     interrex.Epoch `json:"epoch"`

	ID          string `json:"id"`
	Incarnation string `json:"incarnation"` // one life of the data directory
	Instance    string `json:"instance"`    // one life of the transport

	ClusterAddress string `json:"cluster_address"`
	APIAddress     string `json:"api_address"`

	Expect  int               `json:"expect,omitempty"` // bootstrap-expect
	Met     []Met             `json:"met,omitempty"`    // sorted by ID, itself not among them
	Tables  map[string]uint16 `json:"tables,omitempty"` // versions by name
	Version string            `json:"version"`
	Entries byte              `json:"entries"` // the newest version of log entries that it knows
	Log     LogState          `json:"log"`
	// Certificate is the one that it uses; its zero value: none, or an older version.
	Certificate Certificate `json:"certificate,omitzero"`
	DiskFull    bool        `json:"disk_full,omitempty"` // whether it has almost no disk space left
	// Trusts and CAKeys are the pins of the CAs of its cluster that it trusts, and of those
	// whose keys it keeps.
	Trusts []string `json:"trusts,omitempty"`
	CAKeys []string `json:"ca_keys,omitempty"`
}

// Certificate describes an agent's certificate.
type Certificate struct {
	Serial string    `json:"serial"` // hexadecimal
	Issuer string    `json:"issuer"` // the pin of the CA's public key, or its name
	Ends   time.Time `json:"ends"`
}

// Place is a place in raft's log.
type Place struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// Compare is negative when p is behind o: by term first, as raft compares the
// ends of logs.
func (p Place) Compare(o Place) int { return peerlogs.Place(p).Compare(peerlogs.Place(o)) }

// LogState describes raft's log on an agent.
type LogState struct {
	Life  string `json:"life,omitempty"`  // random, of one life of raft; empty: raft is not running
	Term  uint64 `json:"term"`            // raft's current term
	End   Place  `json:"end"`             // of the log or the newest snapshot
	Floor Place  `json:"floor"`           // the last place that it has stored
	Since uint64 `json:"since"`           // the term in which the floor was written
	Unfit string `json:"unfit,omitempty"` // why it must not lead
}

// equal reports whether two hellos, as they were sent, are the same except for the
// positions of their logs, the text of why they must not lead, and the addresses of
// others, none of which is news.
func (h Hello) equal(o Hello) bool {
	return h.Protocol == o.Protocol && h.ClusterID == o.ClusterID && h.Epoch == o.Epoch &&
		h.ID == o.ID && h.Incarnation == o.Incarnation && h.Instance == o.Instance &&
		h.ClusterAddress == o.ClusterAddress && h.APIAddress == o.APIAddress &&
		h.Certificate == o.Certificate && h.DiskFull == o.DiskFull && slices.Equal(h.Trusts, o.Trusts) && slices.Equal(h.CAKeys, o.CAKeys) && h.Expect == o.Expect && h.Version == o.Version && h.Entries == o.Entries && (h.Log.Unfit == "") == (o.Log.Unfit == "") &&
		slices.EqualFunc(h.Met, o.Met, Met.same) && maps.Equal(h.Tables, o.Tables)
}

func (m Met) same(o Met) bool { return m.ID == o.ID && m.Incarnation == o.Incarnation }

// completed returns h with the host of its connection in addresses that have none,
// and the dialled port, unless it is empty, in such a cluster address.
func (h Hello) completed(host, dialled string) Hello {
	h.ClusterAddress = inbound.CompleteAddress(h.ClusterAddress, host, dialled)
	h.APIAddress = inbound.CompleteAddress(h.APIAddress, host, "")
	if inbound.OnLoopback(h.APIAddress) && !inbound.IsLoopback(host) {
		h.APIAddress = "" // it is not reachable from elsewhere
	}
	return h
}

// greeting is the one frame that agents exchange before a connection is used:
// the dialler's hello, the other's hello with its verdict, and the dialler's
// verdict, behind which the stream begins.
type greeting struct {
	Hello   *Hello `json:"hello,omitempty"`
	Refused string `json:"refused,omitempty"`
	// You is what is remembered of the recipient's log, in the first greeting with
	// its life of raft.
	You *Remembered `json:"you,omitempty"`
	// NotNow is whether the refusal is because something is not running at the moment.
	NotNow bool `json:"not_now,omitempty"`
	// Removed is whether the refusal is because the recipient was removed from the
	// cluster.
	Removed bool `json:"removed,omitempty"`
}

// refuse makes the greeting a refusal.
func (g *greeting) refuse(reason error) {
	g.Refused, g.NotNow, g.Removed = reason.Error(), errors.Is(reason, ErrNotNow), errors.Is(reason, interrex.ErrRemoved)
}

func writeGreeting(w io.Writer, g greeting) error {
	if len(g.Refused) > inbound.MaxReason {
		g.Refused = g.Refused[:inbound.MaxReason]
	}
	text, err := g.marshal()
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text)))
	if _, err := w.Write(append(frame, text...)); err != nil {
		return fmt.Errorf("cannot send the hello: %w", err)
	}
	return nil
}

// marshal drops agents from the end of Met until the frame is small enough. A
// cluster with so many agents is not bootstrapped by hellos.
func (g greeting) marshal() ([]byte, error) {
	for {
		text, err := json.Marshal(g)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the hello: %w", err)
		}
		if len(text) <= maxFrame {
			return text, nil
		}
		if g.Hello == nil || len(g.Hello.Met) == 0 {
			return nil, fmt.Errorf("cannot send a hello of %d bytes: the limit is %d; shorten addresses or names of tables", len(text), maxFrame)
		}
		shorter := *g.Hello
		shorter.Met = shorter.Met[:len(shorter.Met)-1]
		g.Hello = &shorter
	}
}

func readGreeting(r io.Reader) (greeting, error) {
	var g greeting
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return g, fmt.Errorf("cannot read the hello: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return g, fmt.Errorf("cannot read a hello of %d bytes: the limit is %d", n, maxFrame)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return g, fmt.Errorf("cannot read the hello: %w", err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return g, fmt.Errorf("cannot decode the hello: %w", err)
	}
	return g, nil
}

// readHello reads a greeting that must have a hello.
func readHello(r io.Reader) (greeting, error) {
	g, err := readGreeting(r)
	if err == nil && g.Hello == nil {
		err = errors.New("cannot decode the hello: it is missing")
	}
	return g, err
}
