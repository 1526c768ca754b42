package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/snapfile"
)

func newSnapshotRestore(a *app) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Replace the cluster's resources, changes, webhooks and settings with a snapshot's",
		Long: `Replaces resources, changes, webhooks, settings, and the tables and the state machine of
an embedder, on all agents of the cluster at once, with those of a saved snapshot. Leases,
members, tokens and request ids stay as they are, and the holders of leases keep working.
A resource whose owner lease is not held now is not brought back. All watches end, and
begin again from a list. 'interrex lease get --at' and 'interrex lease diff' reach back
to the restore only.

The file is verified, then sent in parts, which change nothing. The last step puts it in
place in an instant: until then the restore can be stopped (Ctrl-C), and nothing has
changed. - reads the snapshot from standard input. It is for operators.`,
		Example: `  interrex snapshot restore backup.snap
  interrex snapshot restore backup.snap --yes
  ssh backups cat backup.snap | interrex snapshot restore - --yes`,
		Args: arguments(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.interrupted(c.Context(), a.withLong(c.Context(), func(s session) error {
				return a.restoreSnapshot(c.Context(), s, args[0], yes)
			}))
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for the ID of the cluster")
	return c
}

// restoreSnapshot restores a snapshot once that is confirmed.
func (a *app) restoreSnapshot(ctx context.Context, s session, path string, yes bool) error {
	from, size := standardInput(ctx), int64(0)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if size, err = a.describeSnapshot(f); err != nil {
			return fmt.Errorf("cannot restore %s: %w", path, err)
		}
		from = f
	}
	if !yes {
		if err := a.confirmRestore(ctx, s, path); err != nil {
			return err
		}
	}
	said := time.Now()
	revision, err := s.client.Snapshots().Restore(ctx, from, func(bytes int64) {
		if time.Since(said) >= time.Second {
			said = time.Now()
			a.say("%s", sentSoFar(bytes, size))
		}
	})
	if err != nil {
		return fmt.Errorf("cannot restore %s: %w", path, err)
	}
	return a.done(map[string]any{"file": path, "revision": revision.String()}, "restored %s at revision %d: watches that began before it start again from a list", path, revision)
}

func sentSoFar(bytes, size int64) string {
	if size == 0 {
		return fmt.Sprintf("sent %d bytes", bytes)
	}
	return fmt.Sprintf("sent %d of %d bytes, %d %%", bytes, size, bytes*100/size)
}

// describeSnapshot says what a file shows, and returns its size.
func (a *app) describeSnapshot(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	in, err := snapfile.Open(f)
	if err != nil {
		return 0, err
	}
	h := in.Header
	a.say("the snapshot is of cluster %s, epoch %d, revision %d: %d bytes", orNone(h.ClusterID), h.Epoch.Number, h.Revision, info.Size())
	if !info.Mode().IsRegular() {
		return 0, errors.New("it is not a regular file: use - for a pipe")
	}
	_, err = f.Seek(0, io.SeekStart)
	return info.Size(), err
}

// confirmRestore asks for the ID of the cluster.
func (a *app) confirmRestore(ctx context.Context, s session, path string) error {
	if path == "-" {
		return usageError{errors.New("the snapshot is read from standard input, where nothing can be confirmed: give --yes")}
	}
	m, err := a.staged(ctx, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.messages, "Resources, changes, webhooks and settings of cluster %s will be replaced. To confirm, type its ID: ", m.GetClusterId())
	line, err := bufio.NewReader(standardInput(ctx)).ReadString('\n')
	switch typed := strings.TrimSpace(line); {
	case err != nil:
		a.say("")
		return usageError{errors.New("nothing was typed, and nothing is changed: type the ID of the cluster, or give --yes")}
	case typed != m.GetClusterId():
		return usageError{fmt.Errorf("this is the cluster %s, not %q: nothing is changed", m.GetClusterId(), typed)}
	}
	return nil
}

// staged returns the snapshot that is being restored.
func (a *app) staged(ctx context.Context, s session) (*interrexv1.StagedResponse, error) {
	return client.Call[interrexv1.StagedRequest, interrexv1.StagedResponse](ctx, s.client, interrexv1.MaintenanceServiceStagedProcedure, &interrexv1.StagedRequest{}, client.Options{})
}

func newSnapshotStaged(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "staged",
		Short: "Show the snapshot that is being restored",
		Example: `  interrex snapshot staged
  interrex snapshot staged -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				m, err := a.staged(ctx, s)
				if err != nil {
					return err
				}
				return a.printStaged(m)
			})
		},
	}
}

// stagedFile is the document of a file that is being staged.
type stagedFile struct {
	File      string `json:"file"`
	Caller    string `json:"caller"`
	Bytes     string `json:"bytes"`
	Age       string `json:"age"`
	Idle      string `json:"idle"`
	DroppedIn string `json:"dropped_in"`
}

func (a *app) printStaged(m *interrexv1.StagedResponse) error {
	list := listing{revision: interrex.Revision(m.GetRevision())}
	t := table{header: []string{"FILE", "CALLER", "BYTES", "AGE", "IDLE", "DROPPED IN"}}
	var names []string
	if f := m.GetFile(); f != nil {
		d := stagedFile{
			File: fmt.Sprintf("%016x", f.GetFile()), Caller: f.GetCaller(), Bytes: fmt.Sprint(f.GetBytes()), Age: protoSeconds(f.GetAge().AsDuration()),
			Idle: protoSeconds(f.GetIdle().AsDuration()), DroppedIn: protoSeconds(f.GetDroppedIn().AsDuration()),
		}
		list.items = append(list.items, d)
		t.rows = append(t.rows, []string{d.File, d.Caller, d.Bytes, d.Age, d.Idle, d.DroppedIn})
		names = append(names, d.File)
	}
	return a.print(list, t, names...)
}

// protoSeconds returns a duration as protobuf's JSON has it.
func protoSeconds(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

func newSnapshotDrop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drop",
		Short: "Stop a restore that is under way, and drop what it has sent",
		Long: `Drops the parts of a snapshot that 'interrex snapshot restore' has sent. They have
changed nothing yet. A restore that has failed drops them by itself; those of one that was
killed are dropped after the time of the setting snapshots.max-age.`,
		Example: `  interrex snapshot drop`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				m, err := client.Call[interrexv1.UnstageRequest, interrexv1.UnstageResponse](ctx, s.client, interrexv1.MaintenanceServiceUnstageProcedure, &interrexv1.UnstageRequest{}, client.Options{})
				if err != nil {
					return err
				}
				return a.done(map[string]any{"revision": interrex.Revision(m.GetRevision()).String()}, "dropped the snapshot that was being restored")
			})
		},
	}
}
