package wire

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// AccessRules returns the messages of rules.
func AccessRules(rules []interrex.AccessRule) (all []*interrexv1.AccessRule) {
	for _, r := range rules {
		all = append(all, &interrexv1.AccessRule{Table: r.Table, Verbs: r.Verbs, Prefix: r.Prefix, Own: r.Own})
	}
	return all
}

// FromAccessRules returns the rules of messages.
func FromAccessRules(rules []*interrexv1.AccessRule) (all []interrex.AccessRule) {
	for _, r := range rules {
		all = append(all, interrex.AccessRule{Table: r.GetTable(), Verbs: r.GetVerbs(), Prefix: r.GetPrefix(), Own: r.GetOwn()})
	}
	return all
}

// AccessToken returns the message of an access token.
func AccessToken(t interrex.AccessToken) *interrexv1.AccessToken {
	p := &interrexv1.AccessToken{
		Id: t.ID, Name: t.Name, Operator: t.Operator, Rules: AccessRules(t.Rules),
		ExpiresAt: Timestamp(t.ExpiresAt), Revision: uint64(t.Revision),
	}
	if t.Remaining != 0 {
		p.Remaining = durationpb.New(t.Remaining)
	}
	return p
}

// FromAccessToken returns the access token of a message.
func FromAccessToken(p *interrexv1.AccessToken) (interrex.AccessToken, error) {
	var in Reader
	t := interrex.AccessToken{
		ID: p.GetId(), Name: p.GetName(), Operator: p.GetOperator(), Rules: FromAccessRules(p.GetRules()), Revision: interrex.Revision(p.GetRevision()),
		Remaining: in.Duration("remaining", p.GetRemaining()), ExpiresAt: in.Time("expires_at", p.GetExpiresAt()),
	}
	return t, in.Err
}
