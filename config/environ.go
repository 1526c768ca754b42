package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex/internal/wording"
)

// envPrefix begins every environment variable of interrex.
const envPrefix = "INTERREX_"

// variable is the environment variable of a key: INTERREX_ and its path in
// capitals, dots and dashes as underscores.
func variable(path string) string {
	return envPrefix + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(path))
}

// variables returns the values of the environment's variables that begin with
// envPrefix.
func variables(environ []string) map[string]string {
	given := make(map[string]string, len(environ))
	for _, line := range environ {
		if name, value, found := strings.Cut(line, "="); found && strings.HasPrefix(name, envPrefix) {
			given[name] = value
		}
	}
	return given
}

// overlay sets the values from the environment, and returns the variables that it
// used, by key.
func overlay(c *Config, environ []string) (taken map[string]string, err error) {
	given, taken := variables(environ), map[string]string{}
	var wrong []error
	leaves(reflect.ValueOf(c).Elem(), "", func(path string, v reflect.Value) {
		name := variable(path)
		text, found := given[name]
		if !found || text == "" && v.Kind() != reflect.String && v.Kind() != reflect.Slice {
			return
		}
		taken[path] = name
		if v.Kind() == reflect.Slice {
			text = "[" + text + "]"
		}
		if v.Kind() == reflect.String {
			v.SetString(text)
		} else if yaml.Unmarshal([]byte(text), v.Addr().Interface()) != nil {
			wrong = append(wrong, fmt.Errorf("%s=%q is not valid for %s: use %s", name, given[name], path, wanted(v)))
		}
	})
	return taken, errors.Join(wrong...)
}

// CheckEnviron rejects unknown variables of Environ that begin with INTERREX_:
// they belong to no key and are not among others. The error has a line for each,
// with the nearest known name. Variables that Kubernetes sets in a pod for a
// service whose name begins with "interrex" are allowed.
func (s Source) CheckEnviron(others ...string) error {
	known := slices.Clone(others)
	c := Config{}
	leaves(reflect.ValueOf(&c).Elem(), "", func(path string, _ reflect.Value) { known = append(known, variable(path)) })
	var wrong []error
	for name, value := range variables(s.Environ) {
		if !slices.Contains(known, name) && !ofService(name, value) {
			wrong = append(wrong, fmt.Errorf("there is no variable %s: did you mean %s?", name, nearestVariable(name, known)))
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(wrong...)
}

// The variables that Kubernetes sets for a service: its host and its ports, and
// those that Docker's links once made. The last ones have an address as value.
var (
	serviceVariable = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	serviceAddress  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func ofService(name, value string) bool {
	return serviceVariable.MatchString(name) || strings.HasSuffix(name, "_PORT") && serviceAddress.MatchString(value)
}

// nearestVariable returns the variable that is closest to name. One that ends
// as name does is close.
func nearestVariable(name string, known []string) string {
	best, least := "", 1<<30
	for _, k := range known {
		d := wording.Distance(name, k)
		if strings.HasSuffix(k, strings.TrimPrefix(name, strings.TrimSuffix(envPrefix, "_"))) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}
