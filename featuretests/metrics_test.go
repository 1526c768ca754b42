package featuretests

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
)

// metric is one line of docs/metrics.md, or what agents serve under one name.
type metric struct {
	kind   string
	labels string // their names, sorted
}

var (
	listedLine = regexp.MustCompile("(?m)^\\| `(interrex_\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\| [^|]+ \\|$")
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (\S+) (\w+)$`)
	valueLine  = regexp.MustCompile(`(?m)^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$`)
	limitLine  = regexp.MustCompile(`(?m)^interrex_limit_max\{limit="([^"]+)"\}`)
	labelName  = regexp.MustCompile(`(\w+)="`)
	quoted     = regexp.MustCompile("`(\\w+)`")
)

// names returns the names that a pattern finds, as one text.
func names(pattern *regexp.Regexp, in string) string {
	found := map[string]bool{}
	for _, m := range pattern.FindAllStringSubmatch(in, -1) {
		if m[1] != "le" && m[1] != "quantile" { // a histogram's and a summary's own
			found[m[1]] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(found)), " ")
}

// listed returns the metrics of docs/metrics.md.
func listed(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]metric{}
	for _, m := range listedLine.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = metric{m[2], names(quoted, m[3])}
	}
	if len(found) < 20 {
		t.Fatalf("docs/metrics.md lists only %d metrics: the pattern does not find them", len(found))
	}
	return found
}

// scraped adds interrex's metrics in a text to all.
func scraped(text string, all map[string]metric) {
	kinds := map[string]string{}
	for _, m := range typeLine.FindAllStringSubmatch(text, -1) {
		kinds[m[1]] = m[2]
	}
	for _, m := range valueLine.FindAllStringSubmatch(text, -1) {
		name := m[1]
		if kinds[name] == "" { // a name that ends like a histogram's parts
			name, _, _ = strings.Cut(strings.Fields(m[0])[0], "{")
		}
		if strings.HasPrefix(name, "interrex_") {
			all[name] = metric{kinds[name], names(labelName, m[2])}
		}
	}
}

// differ returns how the served metrics differ from the listed ones.
func differ(listed, served map[string]metric) error {
	var failed []error
	for name, want := range listed {
		if got, is := served[name]; !is {
			failed = append(failed, fmt.Errorf("%s is listed, and not served", name))
		} else if got != want {
			failed = append(failed, fmt.Errorf("%s is served as %+v, and listed as %+v", name, got, want))
		}
	}
	for name := range served {
		if _, is := listed[name]; !is {
			failed = append(failed, fmt.Errorf("%s is served, and not listed", name))
		}
	}
	return errors.Join(failed...)
}

func TestTheListOfMetricsIsWhatAgentsServe(t *testing.T) {
	f := newFleet(t, 3, func(_ int, c *config.Config) {
		c.Notify.LeaseHolders = "sqlite"
		c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 8, time.Second
		c.Backup.To = t.TempDir()
	})
	c := f.client()
	if _, err := c.Resources().Write(t.Context(), interrex.WriteResourceRequest{Resource: interrex.Resource{ID: server("web")}}); err != nil {
		t.Fatal(err)
	}
	leases := c.Leases()
	claimed, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for range 16 { // more than a snapshot needs
		if _, err := leases.Extend(t.Context(), interrex.ExtendRequest{Key: key("app/db"), Token: claimed.Lease.Token}); err != nil {
			t.Fatal(err)
		}
	}
	for when, url := range map[interrex.WebhookWhen]string{interrex.WebhookBefore: hookServer(t, nil), interrex.WebhookAfter: hookServer(t, nil)} {
		if _, err := f.client().Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: interrex.Webhook{Name: string(when), URL: url, When: when}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/asked"), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	want := listed(t)
	eventually(t, "agents serve what is listed, and nothing else", func() error {
		got := map[string]metric{}
		for _, m := range f.members {
			text := fetch(t, http.DefaultClient, "http://"+m.config.API.Listen+"/metrics")
			if strings.Contains(text, `app/db`) || strings.Contains(text, `"db"`) {
				t.Fatal("the name of a lease is in the metrics")
			}
			scraped(text, got)
		}
		return differ(want, got)
	})
	text := fetch(t, http.DefaultClient, "http://"+f.members[0].config.API.Listen+"/metrics")
	if err := limitsDiffer(t, text); err != nil {
		t.Error(err)
	}
}

// limitsDiffer returns which limits are served and not in the tables of
// docs/operations.md.
func limitsDiffer(t *testing.T, text string) error {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(page), "\n## Limits\n")
	tables, _, _ = strings.Cut(tables, "\n## ")
	var failed []error
	maxima, used := limitLine.FindAllStringSubmatch(text, -1), strings.Count(text, "\ninterrex_limit_used{")
	for _, m := range maxima {
		if !strings.Contains(tables, "`"+m[1]+"`") {
			failed = append(failed, fmt.Errorf("the limit %s is not listed", m[1]))
		}
	}
	if len(maxima) < 15 || len(maxima) != used {
		failed = append(failed, fmt.Errorf("%d limits are served, with how much is used of %d", len(maxima), used))
	}
	return errors.Join(failed...)
}
