package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/raftdir"
)

// identityName is the identity's file in an agent's data directory, and RaftDir the
// raft directory beside it.
const (
	identityName = "identity.json"
	RaftDir      = "raft"
)

// Identity identifies an agent: its ID, its cluster and epoch, and the incarnation
// of its disk.
type Identity struct {
	ID          string
	Incarnation string // 32 hexadecimal digits, new with each new disk
	ClusterID   string // empty: in no cluster yet
	// Joins is the ID of the cluster that has issued its certificate: it waits to be let
	// in, with an empty log, or has no raft and forwards requests there, in Epoch. Empty:
	// none, or it is in.
	Joins string
	// Removed is whether it was removed from the cluster.
	Removed bool
	Epoch   interrex.Epoch
	// Incarnations are those of the cluster's members, by ID, as they were last known.
	Incarnations map[string]string
	// KnownAt is the revision as of which they were known.
	KnownAt interrex.Revision
}

// Join sets the cluster that has issued the agent's certificate. What was noted of another
// cluster's epoch does not count there.
func (is *Identity) Join(clusterID string) {
	if is.ClusterID == "" && is.Joins != clusterID {
		is.Epoch = interrex.Epoch{}
	}
	is.Joins = clusterID
}

// identityFile is Identity on disk. 64 random bits do not fit a JSON number. Check
// is the CRC-32C of the file with an empty check, in hexadecimal digits.
type identityFile struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"`
	ClusterID   string `json:"cluster_id,omitempty"`
	Joins       string `json:"joins,omitempty"`
	Removed     bool   `json:"removed,omitempty"`
	Epoch       struct {
		Number uint64 `json:"number"`
		Bits   uint64 `json:"bits,string"`
	} `json:"epoch"`
	Incarnations map[string]string `json:"incarnations,omitempty"`
	KnownAt      uint64            `json:"known_at,omitempty"`
	Check        string            `json:"check"`
}

// bytes returns the file's content, with its check.
func (f identityFile) bytes() ([]byte, error) {
	f.Check = ""
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	f.Check = fmt.Sprintf("%08x", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	data, err = json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// OpenIdentity reads an agent's identity from its data directory, or creates one
// there, with directory (0700) and file (0600). An empty id accepts the stored one;
// an id that differs from the stored one is refused.
//
// The incarnation belongs to the raft directory. A raft directory whose identity is
// missing is refused, since its promises were made under that identity. So is an
// identity that was in a cluster and whose raft directory is missing: its votes are
// lost, and an agent that is the only member would start anew and grant the same
// tokens again; one that notes its removal takes part in nothing. An empty data directory becomes a new incarnation, in no cluster.
func OpenIdentity(dataDir, id string) (Identity, error) {
	if err := disk.MakePrivate(dataDir); err != nil {
		return Identity{}, fmt.Errorf("cannot create data directory: %w", err)
	}
	stored, err := existingIdentity(dataDir, id)
	if err != nil || stored.Incarnation != "" {
		return stored, err
	}
	stored = Identity{ID: stored.ID, Incarnation: founding.RandomHex(16)}
	return stored, SaveIdentity(dataDir, stored)
}

// existingIdentity does what OpenIdentity does without changing anything; where there is no
// identity it returns one without an incarnation.
func existingIdentity(dataDir, id string) (Identity, error) {
	stored, err := readIdentity(filepath.Join(dataDir, identityName))
	if err != nil {
		return Identity{}, err
	}
	if stored.ID, err = agreed(dataDir, stored.ID, id); err != nil {
		return Identity{}, err
	}
	fresh, err := raftdir.IsFresh(filepath.Join(dataDir, RaftDir))
	switch {
	case err != nil:
		return Identity{}, err
	case stored.Incarnation == "" && !fresh:
		return Identity{}, noIdentity(dataDir)
	case fresh && stored.ClusterID != "" && !stored.Removed:
		return Identity{}, noRaft(dataDir, stored)
	}
	return stored, nil
}

// noIdentity returns the error for a raft directory without an identity beside it.
func noIdentity(dataDir string) error {
	return fmt.Errorf("cannot read identity: %s is missing, and raft's directory beside it is not empty: bring back a copy of the file, or move the whole data directory away", filepath.Join(dataDir, identityName))
}

// noRaft returns the error for an identity that was in a cluster, without a raft
// directory beside it.
func noRaft(dataDir string, id Identity) error {
	return fmt.Errorf("cannot use data directory %s: %w: agent %s was in the cluster %s, and raft's directory is missing or empty: bring back a copy of it, or move the whole data directory away", dataDir, raftdir.ErrForgotten, id.ID, id.ClusterID)
}

// LookUpID returns the ID that OpenIdentity would return, without changing anything.
// It refuses what OpenIdentity would, and a raft directory that raftdir.Usable
// refuses.
func LookUpID(dataDir, id string) (string, error) {
	stored, err := existingIdentity(dataDir, id)
	if err == nil {
		err = raftdir.Usable(filepath.Join(dataDir, RaftDir))
	}
	return stored.ID, err
}

// agreed returns the agent's ID, from the one in its directory and the configured
// one. Either may be empty.
func agreed(dataDir, stored, id string) (string, error) {
	switch {
	case stored == "" && id == "":
		return "", fmt.Errorf("cannot create an identity in %s: the agent has no ID", dataDir)
	case stored == "":
		return id, nil
	case id != "" && id != stored:
		return "", fmt.Errorf("cannot use data directory %s: it belongs to agent %s, and the configuration says %s: choose another directory, or the ID %s", dataDir, stored, id, stored)
	}
	return stored, nil
}

// SaveIdentity stores an identity durably, or leaves the present one unchanged.
func SaveIdentity(dataDir string, id Identity) error {
	f := identityFile{ID: id.ID, Incarnation: id.Incarnation, ClusterID: id.ClusterID, Joins: id.Joins, Removed: id.Removed, Incarnations: id.Incarnations, KnownAt: uint64(id.KnownAt)}
	f.Epoch.Number, f.Epoch.Bits = id.Epoch.Number, id.Epoch.Bits
	data, err := f.bytes()
	if err != nil {
		return fmt.Errorf("cannot save identity: %w", err)
	}
	return disk.ReplaceFile("save identity", filepath.Join(dataDir, identityName), data)
}

func readIdentity(path string) (Identity, error) {
	data, err := disk.ReadFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot read identity: %w", err)
	}
	if data == nil {
		return Identity{}, nil
	}
	var f identityFile
	err = json.Unmarshal(data, &f)
	if err == nil {
		err = f.proved(data)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("cannot read identity: %s is damaged: %w: bring back a copy of it", path, err)
	}
	return Identity{
		ID: f.ID, Incarnation: f.Incarnation, ClusterID: f.ClusterID, Joins: f.Joins, Removed: f.Removed,
		Epoch: interrex.Epoch{Number: f.Epoch.Number, Bits: f.Epoch.Bits}, Incarnations: f.Incarnations, KnownAt: interrex.Revision(f.KnownAt),
	}, nil
}

// proved returns an error if data is not an intact file of f.
func (f identityFile) proved(data []byte) error {
	if f.ID == "" || f.Incarnation == "" {
		return errors.New("id or incarnation is missing")
	}
	want, err := f.bytes()
	if err == nil && !bytes.Equal(data, want) {
		err = errors.New("its check does not match")
	}
	return err
}
