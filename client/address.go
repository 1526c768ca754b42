package client

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/interrex/interrex"
)

// addressForms are the forms of an agent's address.
const addressForms = "HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH"

// address is an agent's address in its parts.
type address struct {
	scheme string // http, https, unix
	host   string // host and port
	path   string // of a socket
}

// String returns the address as Config.Addresses has it.
func (a address) String() string { return a.scheme + "://" + a.host + a.path }

// name returns the host without its port, for which its certificate must be.
func (a address) name() string {
	u := url.URL{Host: a.host}
	return u.Hostname()
}

// parseAddress parses an address. HOST:PORT is http://HOST:PORT; without a HOST it is
// this machine.
func parseAddress(s string) (address, error) {
	if s == "" {
		return address{}, interrex.Errorf(interrex.ErrInvalid, "client: an address is empty: use %s", addressForms)
	}
	if host, port, err := net.SplitHostPort(s); err == nil && isPort(port) && !strings.ContainsAny(host, "/@") {
		if host == "" {
			host = "localhost"
		}
		return address{scheme: "http", host: net.JoinHostPort(host, port)}, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return address{scheme: u.Scheme, path: u.Path}, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Port() == "" || isPort(u.Port())) && strings.Trim(u.Path, "/") == "" && u.User == nil && u.RawQuery == "":
		return address{scheme: u.Scheme, host: u.Host}, nil
	}
	return address{}, interrex.Errorf(interrex.ErrInvalid, "client: address %q is not valid%s: use %s", s, addressFault(s), addressForms)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// addressFault returns what is wrong with an address, if it is known.
func addressFault(s string) string {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	_, path, _ := strings.Cut(rest, "/")
	switch {
	case strings.HasPrefix(s, "unix:"):
		return ": the path of a socket must be absolute"
	case scheme != "" && scheme != "http" && scheme != "https":
		return ": " + scheme + ":// is not supported"
	case strings.Contains(rest, "@"):
		return ": it must not have a user"
	case path != "":
		return ": it must not have a path"
	}
	switch port := rest[strings.LastIndexByte(rest, ':')+1:]; {
	case port != "" && strings.Trim(port, "0123456789") == "" && !isPort(port):
		return ": a port is 1 to 65535"
	case scheme == "":
		return ": the port is missing, or is not a number"
	}
	return ""
}
