package membership

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
)

// CharterName is the file in the data directory of an agent that is to found a
// cluster, with what goes into the cluster's first entry. It has no secrets.
const CharterName = "charter.json"

// Charter is what a cluster is founded with.
type Charter struct {
	CA         []byte             `json:"ca"` // the CA's certificate, in DER
	JoinTokens []CharterJoinToken `json:"join_tokens,omitempty"`
	// Operators are the SHA-256 of the access tokens of operators.
	Operators [][]byte `json:"operators,omitempty"`
}

// OperatorName is the name of the access token that a cluster is founded with.
const OperatorName = "operator"

// CharterJoinToken is a join token that is valid from the cluster's first entry on.
type CharterJoinToken struct {
	PublicKey []byte        `json:"public_key"`
	Uses      uint64        `json:"uses"`
	TTL       time.Duration `json:"ttl_ns"` // of cluster time
}

// Save writes the charter into a data directory.
func (c Charter) Save(dir string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the cluster's charter: %w", err)
	}
	return disk.ReplaceFile("the cluster's charter", filepath.Join(dir, CharterName), append(text, '\n'))
}

// ReadCharter reads the charter in a data directory; none: the zero Charter.
func ReadCharter(dir string) (Charter, error) {
	var c Charter
	text, err := disk.ReadFile(filepath.Join(dir, CharterName))
	if err == nil && text != nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return c, fmt.Errorf("cannot read the cluster's charter, %s: %w", filepath.Join(dir, CharterName), err)
	}
	return c, nil
}

// Operations returns the operations of a cluster's first entry. Proposed again they
// change nothing.
func (c Charter) Operations() (all []state.Operation) {
	add := func(table state.TableID, command state.Command) {
		all = append(all, state.Operation{Table: table, Data: command.Append(nil)})
	}
	if len(c.CA) > 0 {
		add(machine.MemberTable, &member.SetCA{Cert: string(c.CA)})
	}
	for _, hash := range c.Operators {
		operator := &access.Create{Name: OperatorName, Operator: true}
		copy(operator.Hash[:], hash)
		add(machine.AccessTable, operator)
	}
	for _, t := range c.JoinTokens {
		add(machine.MemberTable, &member.CreateJoinToken{Key: string(t.PublicKey), Uses: t.Uses, TTL: t.TTL})
	}
	return all
}
