package callstream

import (
	"errors"
	"strings"
)

// ErrSilent ends a connection on which nothing was received for a while, and
// whose pings were not answered.
var ErrSilent = errors.New("no answer")

// lostPing is the text of net/http's error for a ping without a response; the error
// has no type.
const lostPing = "http2: client connection lost"

// IsSilent reports whether err says that a ping was not answered. If a stream was open,
// libraries have prepended more text.
func IsSilent(err error) bool {
	return errors.Is(err, ErrSilent) || strings.HasSuffix(err.Error(), lostPing)
}
