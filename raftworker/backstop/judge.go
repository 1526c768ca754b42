package backstop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// needed returns why no recovery is needed, or possible.
func (c Config) needed(seen Sight) error {
	servers := seen.Members.Servers
	member := slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == c.ID })
	switch {
	case seen.Leader != "":
		return errors.New("there is a leader")
	case !member:
		return errors.New("this agent is not a member of raft's configuration")
	case len(servers) == 1 && servers[0].Suffrage == raft.Voter:
		return errors.New("this agent is the only member, and elects itself")
	}
	return nil
}

// stated returns nil if it was said, in one way or the other, that the other voters
// are gone for good.
func (c Config) stated(ctx context.Context, seen Sight) error {
	wanted := slices.Compact(slices.Sorted(slices.Values(c.Wanted())))
	if slices.Equal(wanted, []string{c.ID}) {
		return nil
	}
	why := errors.New("nobody says which members the cluster is meant to have")
	if len(wanted) > 0 {
		why = fmt.Errorf("the cluster is meant to have the members %s", strings.Join(wanted, ", "))
	}
	if c.Off == nil {
		return why
	}
	for _, s := range seen.Members.Servers {
		if s.Suffrage != raft.Voter || string(s.ID) == c.ID {
			continue
		}
		if err := c.Off(ctx, string(s.ID)); err != nil {
			return fmt.Errorf("%w; voter %s is not known to be off: %w", why, s.ID, err)
		}
	}
	return nil
}
