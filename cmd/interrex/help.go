package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/limits"
)

// usageTemplate is the text of --help: the examples first.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with or .Long .Short}}{{.}}

{{end}}Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{else}}
  {{.UseLine}}{{end}}{{with .Annotations.arguments}}

{{.}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Global flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if not .HasParent}}

` + environment + `{{end}}{{if .HasAvailableSubCommands}}

See '{{.CommandPath}} COMMAND --help' for more about a command.{{end}}
`

// environment is the help on environment variables.
const environment = `Environment:
  INTERREX_ADDR         agents to connect to, like --addr (default: the socket
                        ` + defaultSocket + ` if it exists, else
                        ` + defaultAddress + `)
  INTERREX_CACERT       PEM file of the CA that signed the agents'
                        certificates, for https:// (default: the system's)
  INTERREX_CERT         PEM file of this caller's own certificate
  INTERREX_KEY          PEM file of its key
  INTERREX_TOKEN_FILE   file with this caller's access token, which is not sent over
                        a socket
  INTERREX_TOKEN        the access token itself, if no file is named
  INTERREX_OUTPUT       like --output
  INTERREX_HOLDER       the holder's name for claims (default HOST/PID/RANDOM)
  INTERREX_LEASE_TOKEN  like --lease-token; 'interrex lock' sets it for its command,
                        with INTERREX_LEASE_KEY
  INTERREX_...          configuration values of an agent, for 'interrex agent run'
                        and 'interrex dev': INTERREX_API_LISTEN is api.listen`

// quietly says what --quiet prints below each command at the top, where that is
// more than names.
var quietly = map[string]string{
	"change":   "print only revisions",
	"kv":       "print only keys, or the version of a single key",
	"lease":    "print only keys, or the token of a single lease",
	"resource": "print only names, or the version of a single resource",
	"settings": "print only names, or the value of a single setting",
	"webhook":  "print only names, the secret of a new webhook, or the status of a test",
}

// keyForm is the form of a KEY, as interrex.ParseKey reads it.
var keyForm = fmt.Sprintf(`KEY is NAMESPACE/NAME, such as mine/nightly; a key without / is in the
namespace %q. A namespace has 1 to %d of a-z 0-9 . _ - and begins with a
letter or a digit. A name has 1 to %d bytes of printable UTF-8; / and spaces are
allowed.`,
	limits.DefaultNamespace, limits.MaxNamespace, limits.MaxName)

// eitherForm is the form of a NAMESPACE or KEY.
var eitherForm = fmt.Sprintf(`Without a / it is a NAMESPACE: 1 to %d of a-z 0-9 . _ -, beginning with a letter
or a digit. With one it is a KEY, NAMESPACE/NAME, also in the namespace %q: a
NAME has 1 to %d bytes of printable UTF-8; / and spaces are allowed.`,
	limits.MaxNamespace, limits.DefaultNamespace, limits.MaxName)

// valueForm is the form of a KEY of a value.
var valueForm = fmt.Sprintf(`KEY has 1 to %d bytes of printable UTF-8, such as config/port; / and spaces are
allowed. It does not contain a namespace: use --namespace.`, limits.MaxName)

// typeForm is the form of a TYPE and a NAME of a resource.
var typeForm = fmt.Sprintf(`TYPE is GROUP.VERSION.KIND, such as demo.v1.Server or example.com.v1.Server: each
part has 1 to %d of a-z A-Z 0-9 _ -, and a group may contain dots. A NAME has 1 to %d bytes
of printable UTF-8; / and spaces are allowed.`, limits.MaxTypePart, limits.MaxName)

// idForm is the form of an ID of a resource, as interrex.ParseResourceKey reads it.
const idForm = `An ID is GROUP.KIND/PARTITION/NAMESPACE/NAME, as errors and changes show it, such
as demo.Server/default/default/web.`

// describe adds to c and every command below it the form of its arguments, and how a
// shell completes them.
func (a *app) describe(c *cobra.Command) {
	key, namespace := strings.Contains(c.Use, "KEY"), strings.Contains(c.Use, "NAMESPACE")
	ofValue := c.HasParent() && c.Parent().Name() == "kv"
	switch {
	case key && ofValue:
		c.Annotations = map[string]string{"arguments": valueForm}
	case strings.Contains(c.Use, "TYPE NAME | ID"):
		c.Annotations = map[string]string{"arguments": typeForm + "\n\n" + idForm}
	case strings.Contains(c.Use, "TYPE"):
		c.Annotations = map[string]string{"arguments": typeForm}
	case key && namespace:
		c.Annotations = map[string]string{"arguments": eitherForm}
	case key:
		c.Annotations = map[string]string{"arguments": keyForm}
	}
	switch {
	case c.ValidArgsFunction != nil:
	case strings.Contains(c.Use, "TYPE NAME"):
		c.ValidArgsFunction = a.completeName
	case key || namespace:
		c.ValidArgsFunction = a.completeArgument(key, namespace)
	case len(c.ValidArgs) == 0:
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range c.Commands() {
		a.describe(sub)
	}
}
