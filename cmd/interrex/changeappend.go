package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

func newChangeAppend(a *app) *cobra.Command {
	var r interrex.AppendRequest
	var data string
	c := &cobra.Command{
		Use:   "append --data JSON",
		Short: "Append a change of your own",
		Example: `  interrex change append --data '{"app":"web"}' --tag deploy
  date | jq -R . | interrex change append --data -`,
		Args: arguments(0, "no arguments except --data"),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if r.Data, err = changeData(c, data); err != nil {
				return a.interrupted(c.Context(), usageError{err})
			}
			return a.changes(c, 0, func(ctx context.Context, changes interrex.Changes) error {
				answer, err := changes.Append(ctx, r)
				if err != nil {
					return err
				}
				return a.printChange(answer.Value)
			})
		},
	}
	c.Flags().StringVar(&data, "data", "", "any JSON; - reads it from standard input")
	c.Flags().StringArrayVar(&r.Tags, "tag", nil, "a tag to find it by; may be repeated")
	a.requestIDFlag(c)
	return c
}

// changeData reads the data to append.
func changeData(c *cobra.Command, data string) (json.RawMessage, error) {
	if !c.Flags().Changed("data") {
		return nil, errors.New("--data is missing: give any JSON, or - for standard input")
	}
	text := []byte(data)
	if data == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(standardInput(c.Context()), maxValue+1)); err != nil {
			return nil, fmt.Errorf("cannot read the data: %w", err)
		}
	}
	text = bytes.TrimSpace(text)
	switch err := json.Unmarshal(text, new(any)); {
	case err == nil, json.Valid(text): // a number beyond a double's range is for the agent to refuse
		return text, nil
	case len(text) == 0:
		return nil, errors.New("--data is empty: give any JSON")
	case strings.ContainsRune(`{["`, rune(text[0])):
		return nil, fmt.Errorf("--data is not JSON: %w", err)
	}
	return nil, fmt.Errorf("--data is not JSON: a string needs quotes, as in '\"%s\"'", wording.Excerpt(string(text), shownData))
}
