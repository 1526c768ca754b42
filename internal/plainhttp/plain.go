package plainhttp

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// The headers of plain HTTP that correspond to fields of a request of the API.
const (
	HeaderRequestID = "Interrex-Request-Id"
	HeaderAttempt   = "Interrex-Attempt"
	HeaderFence     = "Interrex-Fence" // KEY TOKEN
	HeaderRevision  = "Interrex-Revision"
	HeaderVersion   = "Interrex-Version" // of a value
)

// maxPlainBody is the largest body of a request of plain HTTP.
const maxPlainBody = wire.MaxBody

// oneLine returns the JSON of a value on one line, without escaping < > &.
func oneLine(value any) ([]byte, error) {
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	err := to.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// onlyMethods returns a handler for the methods that a path does not allow.
func onlyMethods(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		plainAnswer(w, http.StatusMethodNotAllowed, map[string]string{"error": "invalid: " + r.Method + ": " + r.URL.Path + " takes " + allowed})
	}
}

// plainError answers with an error.
func plainError(w http.ResponseWriter, err error) {
	detail := wire.FromDetail(wire.Detail(err))
	wire.SetRetryAfter(w.Header(), err)
	plainAnswer(w, detail.Kind.HTTP(), shownError(detail))
}

// shownError returns the JSON fields of an error.
func shownError(detail *interrex.Error) map[string]any {
	answer := map[string]any{"error": detail.Error()}
	if detail.FirstRevision > 0 {
		answer["first"] = uint64(detail.FirstRevision)
	}
	return answer
}

// plainAnswer answers with JSON.
func plainAnswer(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	_ = to.Encode(answer) // an error means that the caller has gone
}

// onlyQuery refuses unknown parameters, and repeated ones unless their name has an
// asterisk here.
func onlyQuery(q url.Values, names ...string) error {
	for name, values := range q {
		switch {
		case slices.Contains(names, name+"*"):
		case len(names) == 0:
			return interrex.Errorf(interrex.ErrInvalid, "?%.80s: unknown parameter: this path takes none", name)
		case !slices.Contains(names, name):
			return interrex.Errorf(interrex.ErrInvalid, "?%.80s: unknown parameter: this path takes %s", name, strings.ReplaceAll(strings.Join(names, ", "), "*", ""))
		case len(values) > 1:
			return interrex.Errorf(interrex.ErrInvalid, "?%s: given %d times, but allowed once", name, len(values))
		}
	}
	return nil
}

// number returns a parameter that is a number; 0 if it is absent.
func number(q url.Values, name string, bits int) (uint64, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, interrex.Errorf(interrex.ErrInvalid, "?%s: %.80q is not a number from 0 to %d", name, text, uint64(1)<<(bits-1)-1+uint64(1)<<(bits-1))
	}
	return n, nil
}

// period returns a parameter that is a number of seconds or a duration.
func period(q url.Values, name string) (time.Duration, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil || d < 0 {
		return 0, interrex.Errorf(interrex.ErrInvalid, "?%s: %.80q is neither seconds nor a duration such as 30s", name, text)
	}
	return d, nil
}

// listOf returns the values of a parameter that may be repeated or have commas.
func listOf(q url.Values, name string) (all []string) {
	for _, text := range q[name] {
		for _, one := range strings.Split(text, ",") {
			if one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// follows reports whether the caller requests server-sent events.
func follows(r *http.Request) bool {
	return r.Method == http.MethodGet && accepts(r, "text/event-stream")
}

// accepts reports whether the caller requests a content type.
func accepts(r *http.Request, want string) bool {
	for _, one := range strings.Split(r.Header.Get("Accept"), ",") {
		if t, _, err := mime.ParseMediaType(one); err == nil && t == want {
			return true
		}
	}
	return false
}

// plainBody reads the body of a request, which may be compressed.
func plainBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var body []byte
	var err error
	var large *http.MaxBytesError
	encoding := r.Header.Get("Content-Encoding")
	if encoding != "" && encoding != "identity" && encoding != "gzip" {
		return nil, interrex.Errorf(interrex.ErrInvalid, "Content-Encoding: %.80q is not supported: send the body uncompressed or with gzip", encoding)
	}
	tooLarge := r.ContentLength > maxPlainBody && r.Header.Get("Expect") != "" // the caller waits for 100 Continue before it sends the body
	if !tooLarge {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxPlainBody))
	}
	if err == nil && !tooLarge && encoding == "gzip" {
		return unzipped(body)
	}
	if tooLarge || errors.As(err, &large) {
		return nil, interrex.Errorf(interrex.ErrTooLarge, "body: at most %d bytes are allowed", maxPlainBody)
	}
	if over := (*interrex.Error)(nil); errors.As(err, &over) && over.Kind == interrex.ErrOverloaded {
		return nil, over
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "body: it was not received completely in time")
	}
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "body: it ends too early: %v", err)
	}
	return body, nil
}

// unzipped decompresses a body, up to the limit of one that is not compressed.
func unzipped(body []byte) ([]byte, error) {
	from, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(from, maxPlainBody+1))
	}
	switch {
	case err != nil:
		return nil, interrex.Errorf(interrex.ErrInvalid, "body: the header Content-Encoding says gzip, but it cannot be decompressed: %v", err)
	case len(body) > maxPlainBody:
		return nil, interrex.Errorf(interrex.ErrTooLarge, "body: at most %d bytes are allowed, also decompressed", maxPlainBody)
	}
	return body, nil
}

// plainEnvelope reads the headers that correspond to a request's fields.
func plainEnvelope(r *http.Request, id *string, attempt *uint32, fence **interrexv1.Fence) error {
	*id = r.Header.Get(HeaderRequestID)
	if text := r.Header.Get(HeaderAttempt); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return interrex.Errorf(interrex.ErrInvalid, "%s: %.80q is not a number", HeaderAttempt, text)
		}
		*attempt = uint32(n)
	}
	if text := r.Header.Get(HeaderFence); text != "" {
		key, token, both := strings.Cut(strings.TrimSpace(text), " ")
		n, err := strconv.ParseUint(strings.TrimSpace(token), 10, 64)
		if !both || err != nil {
			return interrex.Errorf(interrex.ErrInvalid, "%s: %.80q is not KEY TOKEN", HeaderFence, text)
		}
		*fence = &interrexv1.Fence{Key: key, Token: n}
	}
	return nil
}

func notAllowed(w http.ResponseWriter, allowed string) error {
	w.Header().Set("Allow", allowed)
	plainAnswer(w, http.StatusMethodNotAllowed, map[string]string{"error": "invalid: method: allowed are " + allowed})
	return nil
}

// consistencyOf returns the consistency and the minimum revision that a read demands.
func consistencyOf(q url.Values) (c interrexv1.Consistency, min uint64, err error) {
	switch text := q.Get("consistency"); text {
	case "", "strong":
		c = interrexv1.Consistency_CONSISTENCY_STRONG
	case "eventual":
		c = interrexv1.Consistency_CONSISTENCY_EVENTUAL
	default:
		return c, 0, interrex.Errorf(interrex.ErrInvalid, "?consistency: %q is neither strong nor eventual", text)
	}
	min, err = number(q, "min_revision", 64)
	return c, min, err
}
