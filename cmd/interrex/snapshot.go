package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

func newSnapshot(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "snapshot",
		Short: "Save the cluster's state in a file, restore it, and look into such files",
		Example: `  interrex snapshot save backup.snap
  interrex snapshot inspect backup.snap
  interrex snapshot restore backup.snap`,
	})
	c.AddCommand(newSnapshotSave(a), newSnapshotInspect(a), newSnapshotRestore(a), newSnapshotStaged(a), newSnapshotDrop(a))
	return c
}

// snapshotFacts is what a snapshot shows, as JSON: 64-bit numbers are texts there, as in
// the API's.
type snapshotFacts struct {
	ClusterID   string `json:"cluster_id"`
	Epoch       string `json:"epoch"`
	LogIndex    string `json:"log_index"`
	Term        string `json:"term"`
	Revision    string `json:"revision"`
	ClusterTime string `json:"cluster_time"`
	Bytes       string `json:"bytes"`
}

func factsOf(s interrex.Snapshot) snapshotFacts {
	return snapshotFacts{
		ClusterID: s.ClusterID, Epoch: strconv.FormatUint(s.Epoch, 10), LogIndex: strconv.FormatUint(s.LogIndex, 10),
		Term: strconv.FormatUint(s.Term, 10), Revision: s.Revision.String(),
		ClusterTime: fmt.Sprintf("%.3fs", s.ClusterTime.Seconds()), Bytes: strconv.FormatInt(s.Bytes, 10),
	}
}

// factRows returns the rows of the same, with names.
func factRows(s interrex.Snapshot) [][]string {
	return [][]string{
		{"CLUSTER", fmt.Sprintf("%s, epoch %d", orNone(s.ClusterID), s.Epoch)},
		{"REVISION", s.Revision.String()},
		{"LOG INDEX", fmt.Sprintf("%d, of term %d", s.LogIndex, s.Term)},
		{"CLUSTER TIME", wording.Rounded(s.ClusterTime.Round(time.Second))},
		{"BYTES", strconv.FormatInt(s.Bytes, 10)},
	}
}

func orNone(clusterID string) string {
	if clusterID == "" {
		return "none yet"
	}
	return clusterID
}
