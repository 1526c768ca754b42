package client

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/hold"
)

// plainIDs makes the ids of a OneShot client: those of claims that wait have a name, and
// others have none. They are the given one, or random with what is known: RANDOM@REVISION.
type plainIDs struct{ client *Client }

// randomText is the length of what rand.Text returns.
const randomText = 26

// knownTimeout bounds the question which revision the cluster has reached.
const knownTimeout = time.Second

// Open is part of hold.IDs.
func (i plainIDs) Open(ctx context.Context, waits bool) (hold.ID, error) {
	text := i.client.config.RequestID
	if text == "" && waits {
		return i.client.names.Open(ctx, waits)
	}
	if text == "" {
		text = rand.Text()
		if known := i.known(ctx); known > 0 {
			text += "@" + known.String()
		}
	}
	return hold.ID{Text: text, Done: func() {}}, nil
}

// known returns a revision that the cluster has reached; 0: no agent says so in time.
func (i plainIDs) known(ctx context.Context) interrex.Revision {
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	once := func(ctx context.Context, r *request) ([]byte, error) {
		if err := i.client.prepare(r); err != nil {
			return nil, err
		}
		return i.client.once(ctx, time.Now().Add(knownTimeout), i.client.endpoint(), r, r.attempt("", 0))
	}
	m, err := ask[interrexv1.GetSettingsResponse](ctx, once, interrexv1.StateServiceGetSettingsProcedure, &interrexv1.GetSettingsRequest{
		Consistency: interrexv1.Consistency_CONSISTENCY_EVENTUAL,
	}, Options{})
	if err != nil {
		return 0 // the request itself meets the same
	}
	return interrex.Revision(m.GetRevision())
}

// knownIn returns the revision in an id that plainIDs has made; 0 if it has none.
func knownIn(id string) interrex.Revision {
	if len(id) <= randomText || id[randomText] != '@' || strings.Trim(id[:randomText], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return 0
	}
	known, err := strconv.ParseUint(id[randomText+1:], 10, 64)
	if err != nil {
		return 0
	}
	return interrex.Revision(known)
}

// firstAttempt returns the number of a request's first attempt. An id that a OneShot client
// was given may have been used before: without what was known then, this is a repeated
// attempt.
func (c *Client) firstAttempt(id string) uint32 {
	if c.config.RequestID != "" && id == c.config.RequestID && knownIn(id) == 0 {
		return 1
	}
	return 0
}
