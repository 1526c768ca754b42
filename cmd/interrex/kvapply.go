package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/wire"
)

// maxGroupFile is the largest file of a group of operations, in bytes. Escapes can
// make it longer than the request.
const maxGroupFile = 8 << 20

// groupForm is the form of a group's file.
const groupForm = `FILE is JSON with 1 to 64 operations, as for POST /kv:

  {"operations": [
    {"check":  {"key": "config/lock", "version": "0"}},
    {"put":    {"key": "config/port", "value": "8081", "version": "17"}},
    {"put":    {"key": "config/logo", "value_base64": "iVBORw=="}},
    {"delete": {"key": "config/old"}}
  ]}

version is the version that must be stored; "0" in put and check means that the key
must not exist. Without a version, put and delete accept any, and check requires
that the key exists. Each key may appear once. The operations are atomic.`

func newKVApply(a *app) *cobra.Command {
	var namespace, file string
	c := &cobra.Command{
		Use:   "apply [-f FILE]",
		Short: "Put, delete and check several keys atomically",
		Example: `  interrex kv apply -f change.json
  echo '{"operations":[{"put":{"key":"a","value":"1"}},{"delete":{"key":"b"}}]}' | interrex kv apply`,
		Args: arguments(0, "no arguments except -f FILE"),
		RunE: func(c *cobra.Command, _ []string) error {
			document, err := readFile(c.Context(), file, maxGroupFile)
			if err != nil {
				return a.interrupted(c.Context(), usageError{fmt.Errorf("cannot read the operations: %w", err)})
			}
			if len(bytes.TrimSpace(document)) == 0 {
				return usageError{fmt.Errorf("%s is empty: see 'interrex kv apply --help'", displayName(file))}
			}
			operations, err := wire.ValueOperations(namespace, document)
			if err != nil {
				return usageError{fmt.Errorf("cannot read the operations of %s: %s", displayName(file), wire.FromDetail(wire.Detail(err)).Message)}
			}
			if len(operations) == 0 {
				return usageError{errors.New("there are no operations: see 'interrex kv apply --help'")}
			}
			return a.kv(c, namespace, func(ctx context.Context, kv client.KV) error {
				answer, err := client.Through(kv.By).Group(ctx, operations, client.Options{})
				if err != nil {
					return wire.KeyError(namespace, err)
				}
				return a.printApplied(answer.Revision)
			})
		},
	}
	c.Annotations = map[string]string{"arguments": groupForm}
	namespaceFlag(c, &namespace, "")
	c.Flags().StringVarP(&file, "file", "f", "-", "the operations' file; - is standard input")
	_ = c.MarkFlagFilename("file", "json") // the flag is there
	a.requestIDFlag(c)
	return c
}

func (a *app) printApplied(at interrex.Revision) error {
	document := struct {
		Revision string `json:"revision"`
	}{at.String()}
	return a.print(document, table{header: []string{"REVISION"}, rows: [][]string{{at.String()}}}, at.String())
}
