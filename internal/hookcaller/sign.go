package hookcaller

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// SignatureHeader has the signature of a call: see Sign.
const SignatureHeader = "Interrex-Signature"

// Sign returns t=SECONDS,v1=HEX: the Unix time of the call, and the HMAC-SHA256,
// keyed with the hook's secret as text, of those digits, a dot, and the body. The
// receiver computes the same, compares in constant time, and refuses a time that is
// not recent.
func Sign(secret string, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%s.%s", seconds, body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
