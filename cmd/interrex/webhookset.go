package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

// webhookSet is one `interrex webhook set`.
type webhookSet struct {
	app          *app
	request      interrex.WebhookRequest
	when, policy string

	headers, secret string // files
}

func newWebhookSet(a *app) *cobra.Command {
	w := &webhookSet{app: a}
	w.request.Timeout = limits.DefaultWebhookTimeout
	c := &cobra.Command{
		Use:   "set NAME --url URL",
		Short: "Create a webhook, or replace the one of that name",
		Long: `Creates a webhook, or replaces the one of that name: flags that are not given are
reset to their defaults, except the secret and, for a webhook that is called after
events, its position. The secret of a new webhook is printed once, and never again.

A webhook vetoes an operation by its status: 200 to 299 lets the operation in, any other
vetoes it. What the body says does not count; it is shown to the caller of a veto.`,
		Example: `  interrex webhook set guard --url https://guard.example/check --kind lease.claimed --prefix prod/
  interrex webhook set audit --url https://audit.example/in --when after --header-file audit.headers

In the file of --header-file, which only you should be able to read (chmod 600):
  Authorization: Bearer s3cret`,
		Args:              arguments(1, "NAME"),
		ValidArgsFunction: a.completeFirst(webhookNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := w.read(c, args[0]); err != nil {
				return err
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.setWebhook(ctx, s, w.request) })
		},
	}
	w.flags(c)
	return c
}

func (w *webhookSet) flags(c *cobra.Command) {
	flags, r := c.Flags(), &w.request
	flags.StringVar(&r.URL, "url", "", "the URL to call: http or https")
	flags.StringVar(&w.when, "when", string(interrex.WebhookBefore), "before an operation, which it may veto, or after an event")
	flags.StringSliceVar(&r.Kinds, "kind", nil, "a kind of event to be called for, such as lease.claimed; may be repeated (default all)")
	flags.StringArrayVar(&r.Prefixes, "prefix", nil, "a prefix of keys to be called for, such as prod/; may be repeated (default all)")
	flags.Var(&duration{to: &r.Timeout, least: limits.MinWebhookTimeout, most: limits.MaxWebhookTimeout}, "timeout", "how long one call of the webhook may take; this command itself waits at most 15s")
	flags.StringVar(&w.policy, "on-failure", string(interrex.WebhookRefuse), "refuse or allow operations when a call fails")
	flags.BoolVar(&r.DryRun, "dry-run", false, "call it and count the results, but veto nothing")
	flags.StringVar(&w.headers, "header-file", "", "a file with headers to send, one NAME: VALUE a line")
	flags.StringVar(&w.secret, "secret-file", "", "a file with the secret that signs the calls (default: its current one, or a new one)")
	fixedFlag(c, "when", string(interrex.WebhookBefore), string(interrex.WebhookAfter))
	fixedFlag(c, "on-failure", string(interrex.WebhookRefuse), string(interrex.WebhookAllow))
	w.app.requestIDFlag(c)
}

// read completes the request from the flags, and refuses flags that contradict
// each other.
func (w *webhookSet) read(c *cobra.Command, name string) (err error) {
	r := &w.request
	r.Name, r.When, r.OnFailure = name, interrex.WebhookWhen(w.when), interrex.WebhookPolicy(w.policy)
	if r.URL == "" {
		return usageError{errors.New("--url is missing: give the URL to call")}
	}
	if c.Flags().Changed("kind") && len(r.Kinds) == 0 {
		return usageError{errors.New("--kind is empty: give a value, or leave the flag out")}
	}
	for _, flag := range []string{"dry-run", "on-failure"} {
		if r.When == interrex.WebhookAfter && c.Flags().Changed(flag) {
			return usageError{fmt.Errorf("--%s goes with --when before: nothing is refused after an event", flag)}
		}
	}
	if r.Headers, err = w.app.readHeaders(w.headers); err != nil {
		return err
	}
	r.Secret, err = w.app.readSecret(w.secret)
	return err
}

func (a *app) setWebhook(ctx context.Context, s session, r interrex.WebhookRequest) error {
	answer, err := s.client.Webhooks().Set(ctx, r)
	if err != nil {
		return err
	}
	a.say("webhook %s is set at revision %d", r.Name, answer.Revision)
	var t table
	var names []string
	if answer.Secret != "" {
		a.say("its secret, which signs the calls, is not shown again:")
		t.rows, names = [][]string{{answer.Secret}}, []string{answer.Secret}
	}
	return a.print(&interrexv1.WebhookServiceSetResponse{
		Webhook: wire.Webhook(answer.Webhook), Secret: answer.Secret, Replayed: answer.Replayed, Revision: uint64(answer.Revision),
	}, t, names...)
}

func (a *app) readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := a.readSecretFile("--secret-file", path)
	return strings.TrimSpace(text), err
}

// readHeaders reads lines NAME: VALUE. Empty lines and those that begin with # are
// skipped. No error shows a value.
func (a *app) readHeaders(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := a.readSecretFile("--header-file", path)
	if err != nil {
		return nil, err
	}
	headers := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !found || name == "" {
			return nil, usageError{fmt.Errorf("--header-file: %s: line %d is not NAME: VALUE", path, n)}
		}
		if _, twice := headers[name]; twice {
			return nil, usageError{fmt.Errorf("--header-file: %s: line %d: %s is given twice", path, n, name)}
		}
		headers[name] = strings.TrimSpace(value)
	}
	return headers, nil
}

// readSecretFile reads a file that only its owner should be able to read, and warns
// if others can.
func (a *app) readSecretFile(flag, path string) (string, error) {
	text, err := disk.ReadSmall(path)
	if err != nil {
		return "", usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		a.say("others can read %s, its mode is %04o: run 'chmod 600 %s'", path, info.Mode().Perm(), path)
	}
	return string(text), nil
}
