package hookcaller_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex/internal/hookcaller"
)

// verified reads the body of a call and reports whether it was signed with a
// webhook's secret, at most five minutes ago. It needs only the standard library.
func verified(r *http.Request, secret string) (body []byte, ok bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return nil, false
	}
	stamp, sum, _ := strings.Cut(r.Header.Get("Interrex-Signature"), ",v1=")
	seconds, err := strconv.ParseInt(strings.TrimPrefix(stamp, "t="), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return nil, false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.", seconds)
	mac.Write(body)
	given, err := hex.DecodeString(sum)
	return body, err == nil && hmac.Equal(given, mac.Sum(nil))
}

// The receiver verifies that it is the cluster that calls.
func ExampleSign() {
	call := func(secret, body string) *http.Request {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set(hookcaller.SignatureHeader, hookcaller.Sign(secret, time.Now(), []byte(body)))
		return r
	}
	body, ok := verified(call("whsec_mine", `{"kind":"lease.claimed"}`), "whsec_mine")
	fmt.Println(string(body), ok)
	_, ok = verified(call("whsec_other", `{"kind":"lease.claimed"}`), "whsec_mine")
	fmt.Println(ok)
	// Output:
	// {"kind":"lease.claimed"} true
	// false
}
