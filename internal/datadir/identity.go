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

// identityName is the file in an agent's data directory, and RaftDir the raft
// directory beside it.
const (
	identityName = "identity.json"
	RaftDir      = "raft"
)

// Identity says who an agent is: which agent, of which cluster and epoch, and
// in which incarnation of its disk.
type Identity struct {
	ID          string
	Incarnation string // 32 hexadecimal digits, new with each new disk
	ClusterID   string // empty: in no cluster yet
	Epoch       interrex.Epoch
	// Incarnations are those of the cluster's members, by ID, when it was made.
	Incarnations map[string]string
}

// identityFile is Identity on disk. 64 random bits are no JSON number. Check is
// the CRC-32C of the file as it is with an empty check, in hexadecimal digits.
type identityFile struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation"`
	ClusterID   string `json:"cluster_id,omitempty"`
	Epoch       struct {
		Number uint64 `json:"number"`
		Bits   uint64 `json:"bits,string"`
	} `json:"epoch"`
	Incarnations map[string]string `json:"incarnations,omitempty"`
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

// OpenIdentity reads an agent's identity from its data directory, or makes one
// there, with directory (0700) and file (0600). An empty id takes the one that
// is kept; another id than that is refused.
//
// The incarnation belongs to the raft directory. A raft directory whose identity
// is gone is refused, since what is in it was promised under that identity; and
// so is the identity of an agent that was in a cluster and has no raft directory
// any more: the votes are forgotten, and an agent alone would begin anew and
// grant the same tokens again. A data directory of which nothing is left is
// another incarnation, in no cluster.
func OpenIdentity(dataDir, id string) (Identity, error) {
	if err := disk.MakePrivate(dataDir); err != nil {
		return Identity{}, fmt.Errorf("cannot make data directory: %w", err)
	}
	kept, err := lookUp(dataDir, id)
	if err != nil || kept.Incarnation != "" {
		return kept, err
	}
	kept = Identity{ID: kept.ID, Incarnation: founding.RandomHex(16)}
	return kept, SaveIdentity(dataDir, kept)
}

// lookUp is OpenIdentity for what is there, without an incarnation where nothing
// is, and changes nothing.
func lookUp(dataDir, id string) (Identity, error) {
	kept, err := readIdentity(filepath.Join(dataDir, identityName))
	if err != nil {
		return Identity{}, err
	}
	if kept.ID, err = agreed(dataDir, kept.ID, id); err != nil {
		return Identity{}, err
	}
	fresh, err := raftdir.IsFresh(filepath.Join(dataDir, RaftDir))
	switch {
	case err != nil:
		return Identity{}, err
	case kept.Incarnation == "" && !fresh:
		return Identity{}, noIdentity(dataDir)
	case fresh && kept.ClusterID != "":
		return Identity{}, noRaft(dataDir, kept)
	}
	return kept, nil
}

// noIdentity is the error of a raft directory without an identity beside it.
func noIdentity(dataDir string) error {
	return fmt.Errorf("cannot read identity: %s is missing, and raft's directory beside it is not empty: bring back a copy of the file, or move the whole data directory away", filepath.Join(dataDir, identityName))
}

// noRaft is the error of an identity that was in a cluster, without a raft
// directory beside it.
func noRaft(dataDir string, id Identity) error {
	return fmt.Errorf("cannot use data directory %s: %w: agent %s was in the cluster %s, and raft's directory is missing or empty: bring back a copy of it, or move the whole data directory away", dataDir, raftdir.ErrForgotten, id.ID, id.ClusterID)
}

// LookUpID returns the ID that OpenIdentity would give, and changes nothing. It
// refuses what OpenIdentity would, and a raft directory of which raftdir.Usable
// says that it cannot be opened.
func LookUpID(dataDir, id string) (string, error) {
	kept, err := lookUp(dataDir, id)
	if err == nil {
		err = raftdir.Usable(filepath.Join(dataDir, RaftDir))
	}
	return kept.ID, err
}

// agreed is the agent's ID, of the one that its directory keeps and the one
// that is configured. Either may be empty.
func agreed(dataDir, kept, id string) (string, error) {
	switch {
	case kept == "" && id == "":
		return "", fmt.Errorf("cannot make an identity in %s: the agent has no ID", dataDir)
	case kept == "":
		return id, nil
	case id != "" && id != kept:
		return "", fmt.Errorf("cannot use data directory %s: this directory belongs to agent %s, and the configuration says %s: choose another directory, or the ID %s", dataDir, kept, id, kept)
	}
	return kept, nil
}

// SaveIdentity keeps an identity, whole and on disk, or leaves the one that is
// there.
func SaveIdentity(dataDir string, id Identity) error {
	f := identityFile{ID: id.ID, Incarnation: id.Incarnation, ClusterID: id.ClusterID, Incarnations: id.Incarnations}
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
		ID: f.ID, Incarnation: f.Incarnation, ClusterID: f.ClusterID,
		Epoch: interrex.Epoch{Number: f.Epoch.Number, Bits: f.Epoch.Bits}, Incarnations: f.Incarnations,
	}, nil
}

// proved says what is wrong with a file that holds f.
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
