package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/wire"
)

func newWebhook(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "webhook",
		Short: "Calls to other services before operations and after events",
		Example: `  interrex webhook set guard --url https://guard.example/check --kind lease.claimed --prefix prod/
  interrex webhook set audit --url https://audit.example/in --when after --header-file audit.headers
  interrex webhook test audit
  interrex webhook list`,
	})
	c.AddCommand(newWebhookSet(a), newWebhookList(a), newWebhookDelete(a), newWebhookTest(a))
	return c
}

func newWebhookSet(a *app) *cobra.Command {
	var r interrex.WebhookRequest
	when, policy, headers, secret := "", "", "", ""
	c := &cobra.Command{
		Use:   "set NAME --url URL",
		Short: "Create a webhook, or replace the one of that name",
		Long: `Creates a webhook, or replaces the one of that name: flags that are not given are
reset to their defaults, except the secret and, for a webhook that is called after
events, its position. The secret of a new webhook is printed once, and never again.`,
		Example: `  interrex webhook set guard --url https://guard.example/check --kind lease.claimed --prefix prod/
  interrex webhook set audit --url https://audit.example/in --when after --header-file audit.headers

In the file of --header-file, which only you should be able to read (chmod 600):
  Authorization: Bearer s3cret`,
		Args:              arguments(1, "NAME"),
		ValidArgsFunction: a.completeFirst(webhookNames),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.URL == "" {
				return usageError{errors.New("--url is missing: give the URL to call")}
			}
			if c.Flags().Changed("kind") && len(r.Kinds) == 0 {
				return usageError{errors.New("--kind is empty: give one, or leave the flag out")}
			}
			for _, flag := range []string{"dry-run", "on-failure"} {
				if interrex.WebhookWhen(when) == interrex.WebhookAfter && c.Flags().Changed(flag) {
					return usageError{fmt.Errorf("--%s goes with --when before: nothing is refused after an event", flag)}
				}
			}
			r.Name, r.When, r.OnFailure = args[0], interrex.WebhookWhen(when), interrex.WebhookPolicy(policy)
			if r.Headers, err = a.readHeaders(headers); err != nil {
				return err
			}
			if r.Secret, err = a.readSecret(secret); err != nil {
				return err
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.setWebhook(ctx, s, r) })
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.URL, "url", "", "the URL to call: http or https")
	flags.StringVar(&when, "when", string(interrex.WebhookBefore), "before an operation, which it may veto, or after an event")
	flags.StringSliceVar(&r.Kinds, "kind", nil, "a kind of event to be called for, such as lease.claimed; may be repeated (default all)")
	flags.StringArrayVar(&r.Prefixes, "prefix", nil, "a prefix of keys to be called for, such as prod/; may be repeated (default all)")
	r.Timeout = interrex.DefaultWebhookTimeout
	flags.Var(&duration{to: &r.Timeout, least: interrex.MinWebhookTimeout, most: interrex.MaxWebhookTimeout}, "timeout", "how long one call of the webhook may take; this command itself waits at most 15s")
	flags.StringVar(&policy, "on-failure", string(interrex.WebhookRefuse), "refuse or allow operations when a call fails")
	flags.BoolVar(&r.DryRun, "dry-run", false, "call it and count the results, but veto nothing")
	flags.StringVar(&headers, "header-file", "", "a file with headers to send, one NAME: VALUE a line")
	flags.StringVar(&secret, "secret-file", "", "a file with the secret that signs the calls (default: its current one, or a new one)")
	fixedFlag(c, "when", string(interrex.WebhookBefore), string(interrex.WebhookAfter))
	fixedFlag(c, "on-failure", string(interrex.WebhookRefuse), string(interrex.WebhookAllow))
	a.requestIDFlag(c)
	return c
}

// webhookNames are for the completion of a NAME.
func webhookNames(ctx context.Context, s session) (names []string, err error) {
	all, _, err := s.client.Webhooks().List(ctx, interrex.ReadOptions{Consistency: interrex.Eventual})
	for _, w := range all {
		names = append(names, w.Name)
	}
	return names, err
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

// readSecretFile reads a file whose content is nobody else's business.
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

func (a *app) readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := a.readSecretFile("--secret-file", path)
	return strings.TrimSpace(text), err
}

// readHeaders reads lines NAME: VALUE. Empty ones, and those that begin with #,
// do not count. No error shows a value.
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

func newWebhookList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the webhooks, and the state of their calls",
		Long: `Shows the webhooks, and the state of their calls. Only the leader knows that state;
it is not shown with --eventual.

The column STATE has:
  no failures             the last call got a response, or there was no call since the
                          webhook was set or the leader changed
  called: ...             the last calls got no response; calls continue
  not called for now: ... after 5 consecutive failures: ON-FAILURE applies, or events wait
  one trial call is next: ... as above, and the next call is made to see whether it works
  events delivered ...    up to that revision, which lags by a few seconds; at first
                          it is the revision at which the webhook was set
  skipped ...             number of revisions that were never sent, and the last of them

In JSON these are the fields health.breaker (closed, open, half-open), failures,
error, position and skipped.`,
		Example: `  interrex webhook list
  interrex webhook list -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listWebhooks(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func newWebhookDelete(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a webhook",
		Example:           `  interrex webhook delete guard`,
		Args:              arguments(1, "NAME"),
		ValidArgsFunction: a.completeFirst(webhookNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				_, at, err := s.client.Webhooks().Delete(ctx, interrex.WebhookDeletion{Name: args[0]})
				if err != nil {
					return err
				}
				return a.done(map[string]any{"name": args[0], "revision": at.String()}, "webhook %s is deleted at revision %d", args[0], at)
			})
		},
	}
	a.requestIDFlag(c)
	return c
}

func newWebhookTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "test NAME",
		Short:             "Send a sample to a webhook, and show the response",
		Long:              "Sends a sample to a webhook, from the agent that is contacted, and shows the\nresponse. The exit code is 0 if that is a status of 200 to 299.",
		Example:           `  interrex webhook test guard`,
		Args:              arguments(1, "NAME"),
		ValidArgsFunction: a.completeFirst(webhookNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), max(a.timeout, interrex.MaxWebhookTimeout+time.Second), func(ctx context.Context, s session) error {
				t, err := s.client.Webhooks().Test(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printWebhookTest(args[0], t)
			})
		},
	}
}
