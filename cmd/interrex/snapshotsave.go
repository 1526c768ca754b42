package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/disk"
)

func newSnapshotSave(a *app) *cobra.Command {
	var force, eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "save FILE",
		Short: "Save a snapshot of the whole state in a file",
		Long: `Saves a snapshot of the whole state, as one agent has it, in a file. It is verified
while it arrives, and the file appears once it is complete and on disk, readable by its
owner only: it has the secrets of webhooks, and the hashes of tokens. - writes it to
standard output. Any agent can send one, and goes on meanwhile. It is for operators.

The snapshot has everything that was committed before the command. With --eventual it
is what the agent has now, which needs no leader.`,
		Example: `  interrex snapshot save backup.snap
  interrex snapshot save --force /var/backups/interrex.snap -o json
  interrex snapshot save - | ssh backups 'cat >backup.snap'
  interrex snapshot save last.snap --eventual --addr unix:///var/lib/interrex/interrex.sock`,
		Args: arguments(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			o.Consistency = consistency(eventual)
			return a.interrupted(c.Context(), a.withLong(c.Context(), func(s session) error {
				if args[0] == "-" {
					return a.sendSnapshot(c.Context(), s, o)
				}
				return a.saveSnapshot(c.Context(), s, o, &newFile{path: args[0], replace: force})
			}))
		},
	}
	readFlags(c, &o, &eventual)
	c.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return c
}

// savedSnapshot is the document of a snapshot that was saved.
type savedSnapshot struct {
	File string `json:"file"`
	snapshotFacts
	AgentID     string `json:"agent_id"`
	MadeAt      string `json:"made_at"`
	Consistency string `json:"consistency"`
}

// sendSnapshot writes a snapshot to standard output.
func (a *app) sendSnapshot(ctx context.Context, s session, o interrex.ReadOptions) error {
	if isTerminal(a.out) {
		return usageError{errors.New("a snapshot is not for a terminal: give the name of a file, or redirect standard output")}
	}
	got, err := s.client.Snapshots().Save(ctx, a.out, o)
	if err != nil {
		return fmt.Errorf("%w; what was written is not a whole snapshot", err)
	}
	a.say("saved %d bytes: cluster %s, epoch %d, revision %d, log index %d, from agent %s", got.Bytes, orNone(got.ClusterID), got.Epoch, got.Revision, got.LogIndex, got.AgentID)
	return nil
}

// saveSnapshot saves a snapshot in a file, and prints what it shows.
func (a *app) saveSnapshot(ctx context.Context, s session, o interrex.ReadOptions, to *newFile) error {
	if err := to.check(); err != nil {
		return err
	}
	var got interrex.Snapshot
	err := to.write(func(w io.Writer) (err error) {
		got, err = s.client.Snapshots().Save(ctx, w, o)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot save %s: %w", to.path, err)
	}
	how := "strong"
	if got.Consistency == interrex.Eventual {
		how = "eventual"
	}
	rows := append([][]string{{"FILE", to.path}}, factRows(got)...)
	rows = append(rows, []string{"AGENT", fmt.Sprintf("%s, at %s, %s", got.AgentID, stamp(got.MadeAt), how)})
	return a.print(savedSnapshot{
		File: to.path, snapshotFacts: factsOf(got), AgentID: got.AgentID, MadeAt: got.MadeAt.UTC().Format(time.RFC3339Nano), Consistency: how,
	}, table{rows: rows}, to.path)
}

// newFile is a file that appears at its path once its content is on disk.
type newFile struct {
	path    string
	replace bool // a file that is there
}

// check refuses a path at which nothing can be written.
func (f newFile) check() error {
	info, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file: give the name of a file", f.path)
	case !f.replace:
		return fmt.Errorf("%s exists: give another name, or --force to replace it", f.path)
	}
	return nil
}

// write calls fill with a file beside the path, which then gets that name. On an error it
// leaves nothing.
func (f newFile) write(fill func(io.Writer) error) (err error) {
	dir := filepath.Dir(f.path)
	staged, err := os.CreateTemp(dir, filepath.Base(f.path)+".*"+disk.Staged) // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(staged.Name()) // the error says that there is no file
		}
	}()
	err = fill(staged)
	if err == nil {
		err = staged.Sync()
	}
	if err = errors.Join(err, staged.Close()); err != nil {
		return err
	}
	if err := f.check(); err != nil { // somebody else may have made it meanwhile
		return err
	}
	if err := os.Rename(staged.Name(), f.path); err != nil {
		return err
	}
	return disk.OS{}.Sync(dir)
}
