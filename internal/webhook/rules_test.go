package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// world is a table with a revision.
type world struct {
	t     testing.TB
	table *webhook.Table
	at    interrex.Revision
	last  *state.Turn
}

func newWorld(t testing.TB) *world { return &world{t: t, table: webhook.New()} }

// do runs a command as State would, by way of its encoding.
func (w *world) do(c state.Command, minted string) (*webhook.Reply, error) {
	w.t.Helper()
	decoded, err := w.table.Decode(c.Append(nil))
	if err != nil {
		return nil, err
	}
	if err := w.table.Check(0, decoded); err != nil {
		return nil, err
	}
	w.at++
	w.last = &state.Turn{Revision: w.at, Table: machine.WebhookTable, Minted: []byte(minted)}
	return w.table.Apply(w.last, decoded).(*webhook.Reply), nil
}

func (w *world) must(c state.Command, minted string) *webhook.Reply {
	w.t.Helper()
	reply, err := w.do(c, minted)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply
}

func TestASecretIsMadeOnceAndKept(t *testing.T) {
	w := newWorld(t)
	if got := w.must(&webhook.Set{Spec: spec("a")}, "whsec_one"); string(got.Secret) != "whsec_one" {
		t.Errorf("the first set answers %q", string(got.Secret))
	}
	if got := w.must(&webhook.Set{Spec: spec("a")}, "whsec_two"); got.Secret != "" {
		t.Errorf("the second set answers %q", string(got.Secret))
	}
	if got := w.table.Get("a").Secret; string(got) != "whsec_one" {
		t.Errorf("the hook has %q", string(got))
	}
	if got := w.must(&webhook.Set{Spec: spec("a"), Secret: "0123456789abcdef"}, ""); got.Secret != "" {
		t.Errorf("a set with a secret answers %q", string(got.Secret))
	}
	if got := w.table.Get("a").Secret; string(got) != "0123456789abcdef" {
		t.Errorf("the hook has %q", string(got))
	}
	minted, err := (&webhook.Set{Spec: spec("a")}).Mint(strings.NewReader(strings.Repeat("x", 64)))
	if err != nil || len(minted) > limits.MaxMinted || !strings.HasPrefix(string(minted), webhook.SecretPrefix) {
		t.Errorf("Mint = %q, %v", minted, err)
	}
	if more, err := (&webhook.Set{Spec: spec("a"), Secret: "0123456789abcdef"}).Mint(strings.NewReader(strings.Repeat("x", 64))); more != nil || err != nil {
		t.Errorf("for a hook with a secret %d bytes are minted: %v", len(more), err)
	}
	if err := (&webhook.Set{Spec: spec("a"), Secret: webhook.Secret(minted)}).Validate(); err != nil {
		t.Errorf("what is made may not be given: %v", err)
	}
}

func TestNoEventAndNoTextHasASecret(t *testing.T) {
	w := newWorld(t)
	w.must(&webhook.Set{Spec: spec("a"), Secret: "0123456789abcdef"}, "")
	set := w.last.Events()
	if reply := w.must(&webhook.Delete{Name: "a"}, ""); reply.Hook.Secret != "" || reply.Hook.Headers[0].Value != "" {
		t.Error("the reply to a delete has secrets")
	}
	all := append(set, w.last.Events()...)
	if len(all) != 2 || all[0].Kind != interrex.WebhookSet || all[1].Kind != interrex.WebhookDeleted || all[0].Key != "a" {
		t.Fatalf("the events are %v", all)
	}
	for _, e := range all {
		b := w.table.AppendEvent(nil, e.Value)
		if text := string(b); strings.Contains(text, "0123456789abcdef") || strings.Contains(text, "hidden") || !strings.Contains(text, "Authorization") {
			t.Errorf("%s is kept as %q", e.Kind, text)
		}
	}
	h := &webhook.Hook{Spec: spec("a"), Secret: "0123456789abcdef"}
	if text, err := json.Marshal(h); err != nil || strings.Contains(string(text), "0123456789abcdef") || strings.Contains(string(text), "hidden") {
		t.Errorf("JSON shows a secret: %s, %v", text, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, *h) + fmt.Sprintf(verb, h.State()); strings.Contains(text, "0123456789abcdef") || strings.Contains(text, "hidden") || strings.Contains(text, "30313233") {
			t.Errorf("%s shows a secret: %s", verb, text)
		}
	}
}

func TestAPositionOnlyRisesAndStaysWithItsHook(t *testing.T) {
	w := newWorld(t)
	w.must(&webhook.Set{Spec: spec("a")}, "")
	step := webhook.Step{Name: "a", Created: 1, To: 70, SkippedFrom: 2, SkippedTo: 9, Skipped: 8}
	w.must(&webhook.Advance{Steps: []webhook.Step{step}}, "")
	if n := len(w.last.Events()); n != 0 {
		t.Errorf("an Advance publishes %d events", n)
	}
	if _, err := w.do(&webhook.Advance{Steps: []webhook.Step{step}}, ""); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("the same again: %v", err)
	}
	w.must(&webhook.Advance{Steps: []webhook.Step{{Name: "a", Created: 1, To: 80}}}, "")
	if h := w.table.Get("a"); h.SkippedFrom != 2 || h.SkippedTo != 9 || h.Skipped != 8 {
		t.Errorf("a step that skips nothing leaves %+v", h.State())
	}
	w.must(&webhook.Advance{Steps: []webhook.Step{{Name: "a", Created: 1, To: 90, SkippedFrom: 85, SkippedTo: 86, Skipped: 2}}}, "")
	w.must(&webhook.Set{Spec: spec("a")}, "")
	h := w.table.Get("a")
	if s := h.State(); h.Created != 1 || s.Position != 90 || s.SkippedFrom != 85 || s.SkippedTo != 86 || s.Skipped != 10 {
		t.Errorf("after a second set it is at %+v", h.State())
	}
	w.must(&webhook.Delete{Name: "a"}, "")
	made := w.must(&webhook.Set{Spec: spec("a")}, "").Hook
	if made.Position != w.at || made.Skipped != 0 {
		t.Errorf("a new hook begins at %d, want %d", made.Position, w.at)
	}
	step.To = 99
	if _, err := w.do(&webhook.Advance{Steps: []webhook.Step{step}}, ""); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("a step of the hook before: %v", err)
	}
	before := spec("a")
	before.When, before.Kinds = interrex.WebhookBefore, nil
	w.must(&webhook.Set{Spec: before}, "")
	if h := w.table.Get("a"); h.Position != 0 {
		t.Errorf("a hook that is asked before has the position %d", h.Position)
	}
	step.Created = made.Created
	if _, err := w.do(&webhook.Advance{Steps: []webhook.Step{step}}, ""); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("a step of a hook that is asked before by now: %v", err)
	}
	if after := w.must(&webhook.Set{Spec: spec("a")}, "").Hook; after.Position != w.at || after.Created != made.Created {
		t.Errorf("called after events again, it begins at %d, want %d; created at %d, want %d", after.Position, w.at, after.Created, made.Created)
	}
}

func TestOnlyOperatorsChangeHooks(t *testing.T) {
	for _, c := range []state.Command{&webhook.Set{}, &webhook.Delete{}, &webhook.Advance{}} {
		if !c.About().Privileged {
			t.Errorf("%T is for everybody", c)
		}
	}
}

func TestTheSeventeenthHookIsAConflict(t *testing.T) {
	w := newWorld(t)
	for i := range limits.MaxWebhooks {
		w.must(&webhook.Set{Spec: spec(fmt.Sprint("h", i))}, "")
	}
	if _, err := w.do(&webhook.Set{Spec: spec("more")}, ""); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("the 17th: %v", err)
	}
	w.must(&webhook.Set{Spec: spec("h3")}, "")
	w.must(&webhook.Delete{Name: "h3"}, "")
	w.must(&webhook.Set{Spec: spec("more")}, "")
	if _, err := w.do(&webhook.Delete{Name: "h3"}, ""); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestAGroupIsCheckedWithItselfCounted(t *testing.T) {
	w := newWorld(t)
	for i := range limits.MaxWebhooks - 1 {
		w.must(&webhook.Set{Spec: spec(fmt.Sprint("h", i))}, "")
	}
	set := func(name string) state.Command { return &webhook.Set{Spec: spec(name)} }
	for want, all := range map[error][]state.Command{
		nil:                  {set("x"), &webhook.Delete{Name: "x"}, set("y")},
		interrex.ErrConflict: {set("x"), set("y")},
		interrex.ErrNotFound: {&webhook.Delete{Name: "h1"}, &webhook.Delete{Name: "h1"}},
	} {
		if err := w.table.CheckGroup(0, all); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if n := len(w.table.Hooks()); n != limits.MaxWebhooks-1 {
		t.Errorf("a check leaves %d hooks", n)
	}
}

func TestAHookWantsItsKindsAndKeys(t *testing.T) {
	h := &webhook.Hook{Spec: spec("a")}
	all := &webhook.Hook{}
	for _, c := range []struct {
		kind, key string
		want      bool
	}{
		{interrex.LeaseClaimed, "team/x", true},
		{interrex.LeaseClaimed, "web/a1", true},
		{interrex.LeaseClaimed, "web/b", false},
		{interrex.LeasePinned, "team/x", false},
	} {
		if got := h.Wants(c.kind, c.key); got != c.want || !all.Wants(c.kind, c.key) {
			t.Errorf("Wants(%s, %s) = %v", c.kind, c.key, got)
		}
	}
	if h.Asks(state.Announcement{Kinds: []string{interrex.LeaseClaimed}, Key: "team/x"}) {
		t.Error("a hook that is called after events is asked before")
	}
	h.When, all.When = interrex.WebhookBefore, interrex.WebhookBefore
	two := []string{interrex.LeasePinned, interrex.LeaseClaimed}
	for _, c := range []struct {
		a    state.Announcement
		want bool
	}{
		{state.Announcement{Kinds: two, Key: "team/x"}, true},
		{state.Announcement{Kinds: two, Key: "tea"}, false},
		{state.Announcement{Kinds: two, Key: "tea", Prefix: true}, true},
		{state.Announcement{Kinds: two, Key: "team/x", Prefix: true}, true},
		{state.Announcement{Kinds: two, Key: "other", Prefix: true}, false},
		{state.Announcement{Kinds: two[:1], Key: "team/x"}, false},
	} {
		if got := h.Asks(c.a); got != c.want || !all.Asks(c.a) {
			t.Errorf("Asks(%+v) = %v", c.a, got)
		}
	}
	if h.Asks(state.Announcement{Key: "team/x"}) || all.Asks(state.Announcement{}) {
		t.Error("what announces nothing is asked about")
	}
}

func TestWhatIsNotAllowedIsNamed(t *testing.T) {
	for want, edit := range map[string]func(*webhook.Spec){
		"":                                      func(*webhook.Spec) {},
		"name: 1 to 63":                         func(s *webhook.Spec) { s.Name = "A" },
		"name: 1 to 63 of":                      func(s *webhook.Spec) { s.Name = strings.Repeat("a", 10_000) },
		"url: it must be http://HOST":           func(s *webhook.Spec) { s.URL = "ftp://x" },
		"url: it must be http://HOST/PATH":      func(s *webhook.Spec) { s.URL = "http:///x" },
		"url: it must not have a user":          func(s *webhook.Spec) { s.URL = "http://a:b@x/" },
		"url: the part after #":                 func(s *webhook.Spec) { s.URL = "http://x/#y" },
		"url: spaces":                           func(s *webhook.Spec) { s.URL = "http://x/ y" },
		"url: at most 2048":                     func(s *webhook.Spec) { s.URL = "http://x/" + strings.Repeat("y", 2048) },
		"when: before or after":                 func(s *webhook.Spec) { s.When = "" },
		"on_failure: refuse":                    func(s *webhook.Spec) { s.OnFailure = "" },
		"timeout: 100 ms to 30 s":               func(s *webhook.Spec) { s.Timeout = time.Millisecond },
		"kinds: lease.expired is never":         func(s *webhook.Spec) { s.When = interrex.WebhookBefore },
		"kinds: fsm.applied is never":           func(s *webhook.Spec) { s.When, s.Kinds = interrex.WebhookBefore, []string{"fsm.applied"} },
		"kinds: \"lease.taken\" is not one":     func(s *webhook.Spec) { s.Kinds = []string{"lease.taken"} },
		"kinds: user appears twice":             func(s *webhook.Spec) { s.Kinds = []string{"user", "user"} },
		"prefixes: at most 16":                  func(s *webhook.Spec) { s.Prefixes = make([]string, 17) },
		"prefixes: \"a\" appears twice":         func(s *webhook.Spec) { s.Prefixes = []string{"a", "a"} },
		"prefixes: 1 to 1024 bytes of UTF":      func(s *webhook.Spec) { s.Prefixes = []string{"\xff"} },
		"prefixes: 1 to 1024":                   func(s *webhook.Spec) { s.Prefixes = []string{""} },
		"headers: at most 16":                   func(s *webhook.Spec) { s.Headers = make([]webhook.Header, 17) },
		"headers: \"a b\" is not a header name": func(s *webhook.Spec) { s.Headers = []webhook.Header{{Name: "a b"}} },
		"headers: host is set":                  func(s *webhook.Spec) { s.Headers = []webhook.Header{{Name: "host"}} },
		"headers: interrex-Signature is":        func(s *webhook.Spec) { s.Headers = []webhook.Header{{Name: "interrex-Signature"}} },
		"headers: the value of A has cont":      func(s *webhook.Spec) { s.Headers = []webhook.Header{{Name: "A", Value: "x\ny"}} },
		"headers: the value of A has 5000": func(s *webhook.Spec) {
			s.Headers = []webhook.Header{{Name: "A", Value: webhook.Secret(strings.Repeat("x", 5000))}}
		},
		"headers: A appears twice": func(s *webhook.Spec) { s.Headers = []webhook.Header{{Name: "A"}, {Name: "A"}} },
	} {
		s := spec("a")
		edit(&s)
		err := (&webhook.Set{Spec: s}).Validate()
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 400 {
			t.Errorf("%v, want %q", err, want)
		}
	}
	twice := &webhook.Advance{Steps: []webhook.Step{{Name: "a"}, {Name: "a"}}}
	if err := twice.Validate(); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a hook with two steps: %v", err)
	}
	if err := (&webhook.Set{Spec: spec("a"), Secret: "short"}).Validate(); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a short secret: %v", err)
	}
}
