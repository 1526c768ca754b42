package featuretests

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// hookServer is what a webhook calls; nil answers 200.
func hookServer(t *testing.T, handle http.HandlerFunc) (url string) {
	t.Helper()
	if handle == nil {
		handle = func(http.ResponseWriter, *http.Request) {}
	}
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}
