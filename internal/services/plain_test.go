package services

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// taken has, for each field that is shown to others, the request that carries it.
var taken = map[string]func(text string) (state.Command, error){
	"reason": func(text string) (state.Command, error) {
		return pin(&interrexv1.PinRequest{Key: "jobs/a", Owner: "ops", Reason: text})
	},
	"tags": func(text string) (state.Command, error) {
		return appendChange(&interrexv1.ChangeServiceAppendRequest{Json: "1", Tags: []string{"a", text}})
	},
	"url": func(text string) (state.Command, error) {
		return setWebhook(&interrexv1.WebhookServiceSetRequest{Webhook: &interrexv1.Webhook{Name: "a", Url: "http://h/" + text}})
	},
	"prefixes": func(text string) (state.Command, error) {
		return setWebhook(&interrexv1.WebhookServiceSetRequest{Webhook: &interrexv1.Webhook{Name: "a", Url: "http://h/", Prefixes: []string{"a", text}}})
	},
	"rule": func(text string) (state.Command, error) {
		s := Tokens{CheckRule: func(interrex.AccessRule) error { return nil }}
		return s.create(&interrexv1.TokenServiceCreateRequest{Hash: make([]byte, 32), Name: "a", Rules: []*interrexv1.AccessRule{{Table: "lease", Verbs: []string{"get"}, Prefix: "jobs/" + text}}})
	},
	"generation": func(text string) (state.Command, error) {
		m := whole("web")
		m.Generation = text
		return resourceToWrite(&interrexv1.ResourceServiceWriteRequest{Resource: m, Strict: true})
	},
	"data": func(text string) (state.Command, error) {
		m := whole("web")
		m.Data = &anypb.Any{TypeUrl: "example.com/" + text}
		return resourceToWrite(&interrexv1.ResourceServiceWriteRequest{Resource: m})
	},
}

func TestTextThatIsShownHasNoControlCharacters(t *testing.T) {
	for field, take := range taken {
		for text, ok := range map[string]bool{"é-日本": true, "a\nb": false, "\x1b[31m": false, "\x7f": false, "\u009b2J": false, "\u202e": false} {
			_, err := take(text)
			if (err == nil) != ok || !ok && interrex.KindOf(err) != interrex.ErrInvalid {
				t.Errorf("%s: %q: %v", field, text, err)
			}
			if !ok && !strings.Contains(err.Error(), field) {
				t.Errorf("%s: the error does not name the field: %v", field, err)
			}
		}
	}
}

// What an older log has is applied as it was: the rule is that of requests only.
func TestALogMayHaveControlCharactersInWhatIsShown(t *testing.T) {
	const old = "a\u009b\u202eb"
	set := &webhook.Set{Spec: webhook.Spec{Name: "a", URL: "http://h/" + old, When: interrex.WebhookAfter, OnFailure: interrex.WebhookRefuse, Timeout: 1e9, Prefixes: []string{old}}}
	if _, err := webhook.New().Decode(set.Append(nil)); err != nil {
		t.Error(err)
	}
	create := &access.Create{Hash: [32]byte{1}, Name: "a", Rules: []interrex.AccessRule{{Table: "lease", Verbs: []string{"get"}, Prefix: "jobs/" + old}}}
	if _, err := access.New().Decode(create.Append(nil)); err != nil {
		t.Error(err)
	}
}
