package member

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Member is an agent that was admitted to the cluster. It is immutable.
type Member struct {
	ID string
	// Key is the public key for which a certificate was last issued, in PKIX DER;
	// empty: its certificates come from elsewhere.
	Key string
	// Incarnation is that of its disk; empty: it was admitted, and has not been seen
	// yet.
	Incarnation string
	// NonVoter reports that it must not be given a vote.
	NonVoter bool
	// Forwards reports that it runs without raft: it is not in raft's configuration, and
	// forwards the requests of its callers to members.
	Forwards bool

	ClusterAddress, APIAddress string // host:port, as the leader last saw them
	Version                    string // of its build
	Tables                     []TableVersion
	Certificate                Certificate
	// Renew reports that its certificate is to be renewed now.
	Renew bool

	Added    time.Time // the leader's wall clock
	Revision interrex.Revision
}

// Certificate is an agent's certificate, as it describes it itself.
type Certificate struct {
	Serial string    // hexadecimal
	Issuer string    // the pin of the CA's public key, or its name
	Ends   time.Time // in seconds; zero: it is not known
}

// TableVersion is the version of one table in a member's build.
type TableVersion struct {
	Name    string
	Version uint16
}

// Versions returns the versions of its tables, by name.
func (m *Member) Versions() map[string]uint16 {
	all := map[string]uint16{}
	for _, t := range m.Tables {
		all[t.Name] = t.Version
	}
	return all
}

// size is the approximate number of bytes, for the ring.
func (m *Member) size() int {
	return 200 + len(m.ID) + len(m.Key) + len(m.Incarnation) + len(m.ClusterAddress) + len(m.APIAddress) + len(m.Version) + len(m.Certificate.Serial) + len(m.Certificate.Issuer) + 40*len(m.Tables)
}

// sameSight reports whether two members differ only in what is not seen of an agent.
func (m *Member) sameSight(o *Member) bool {
	return m.Incarnation == o.Incarnation && m.ClusterAddress == o.ClusterAddress && m.APIAddress == o.APIAddress &&
		m.Version == o.Version && m.Certificate == o.Certificate && slices.Equal(m.Tables, o.Tables)
}

// JoinToken is the public half of a token with which agents may join. It is immutable.
type JoinToken struct {
	ID      string
	Key     string // the Ed25519 public key
	For     string // the only ID that may use it; empty: any
	MaxUses uint64
	Uses    []Use
	Expires state.Time
	Created interrex.Revision
}

// Use is one use of a join token: repeating it is no other use.
type Use struct {
	ID  string
	Sum string // the SHA-256 of the agent's public key
}

func useOf(id, key string) Use {
	sum := sha256.Sum256([]byte(key))
	return Use{id, string(sum[:])}
}

// Left returns how often the token may still be used.
func (t *JoinToken) Left() uint64 { return t.MaxUses - uint64(len(t.Uses)) }

// Tombstone is an agent that was removed, on the disk that it had.
type Tombstone struct {
	ID, Incarnation string
	Revision        interrex.Revision
}

// The limits of the table.
const (
	MaxMembers    = 1000
	MaxJoinTokens = 256
	// maxTombstones is the number of removed agents that are remembered.
	maxTombstones = 1024

	maxKey     = 1 << 10 // bytes of a public key
	maxCA      = 8 << 10 // bytes of the CA's certificate
	maxAddress = 300
	maxVersion = 100
	maxIssuer  = 300
	maxTables  = 300
	tokenKey   = ed25519.PublicKeySize
)
