package enrolment

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/inbound"
)

// configFile is the configuration file in a data directory.
type configFile struct {
	text   []byte // nil: there is none
	config config.Config
}

// readConfigFile reads the configuration file in a data directory, if there is one.
func readConfigFile(dir string) (*configFile, error) {
	f := &configFile{config: config.Default()}
	if dir == "" {
		return f, nil
	}
	path := filepath.Join(dir, ConfigName)
	text, err := disk.ReadFile(path)
	if err != nil || text == nil {
		return f, err
	}
	f.text = text
	if f.config, err = (config.Source{Path: path}).Load(); err != nil {
		return nil, fmt.Errorf("cannot keep the configuration that is there: %w: correct %s, or move it away", err, path)
	}
	var said struct {
		Agent struct {
			DataDir string `yaml:"data-dir"`
		} `yaml:"agent"`
	}
	if err := yaml.Unmarshal(text, &said); err != nil {
		return nil, err
	}
	if said.Agent.DataDir != "" && !sameDir(said.Agent.DataDir, dir) {
		return nil, fmt.Errorf("cannot keep the configuration that is there: agent.data-dir in %s is %s, and not the directory that it is in: correct it, or move the file away", path, said.Agent.DataDir)
	}
	return f, nil
}

// sameDir reports whether two paths are of one directory.
func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// ConfiguredID returns the agent's ID in the configuration file of a data directory,
// "" if there is none.
func ConfiguredID(dir string) string {
	f, err := readConfigFile(dir)
	if err != nil {
		return "" // Join reports it
	}
	return f.config.Agent.ID
}

// complete fills in what is not given with what the file says, or the defaults.
func (f *configFile) complete(a Agent) Agent {
	known := configured(f.config)
	a.API, a.Cluster = cmp.Or(a.API, known.API), cmp.Or(a.Cluster, known.Cluster)
	a.Names, a.Forwards = append(a.Names, known.Names...), a.Forwards || known.Forwards
	return a
}

// save writes the file: a new one, or the one that is there with the changes that a new
// certificate and what was given make necessary. join are the cluster addresses of
// other agents; none: the agent founds a cluster.
func (f *configFile) save(given, a Agent, join []string) error {
	text := []byte(a.newConfig(join))
	if f.text != nil {
		var err error
		if text, err = f.changed(given, a, join); err != nil {
			return err
		}
	}
	return disk.ReplaceFile("the configuration", filepath.Join(a.DataDir, ConfigName), text)
}

// newConfig returns the text of a new file.
func (a Agent) newConfig(join []string) string {
	q := strconv.Quote
	file := func(name string) string { return q(filepath.Join(a.DataDir, name)) }
	var quoted []string
	for _, address := range join {
		quoted = append(quoted, q(address))
	}
	expect, raft := "  bootstrap-expect: 1\n", ""
	if len(join) > 0 {
		expect = ""
	}
	if a.Forwards {
		raft = "raft:\n  enabled: false\n"
	}
	return fmt.Sprintf(`agent:
  id: %s
  data-dir: %s
api:
  listen: %s
  tls:
    cert: %s
    key: %s
cluster:
  listen: %s
  join: [%s]
%s  tls:
    ca: %s
    cert: %s
    key: %s
%s`, q(a.ID), q(a.DataDir), q(a.API), file(authority.AgentCertName), file(authority.AgentKeyName),
		q(a.Cluster), strings.Join(quoted, ", "), expect, file(authority.CertName), file(authority.AgentCertName), file(authority.AgentKeyName), raft)
}

// changed returns the text of the file that is there, changed. Comments and what an
// operator has added stay.
func (f *configFile) changed(given, a Agent, join []string) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(f.text, &root); err != nil {
		return nil, err
	}
	if len(root.Content) == 0 { // nothing but comments
		return []byte(a.newConfig(join)), nil
	}
	if err := f.edit(edited{root.Content[0]}, given, a, join); err != nil {
		return nil, fmt.Errorf("cannot change %s: %w", filepath.Join(a.DataDir, ConfigName), err)
	}
	text := &strings.Builder{}
	encoder := yaml.NewEncoder(text)
	encoder.SetIndent(2)
	err := encoder.Encode(&root)
	return []byte(text.String()), err
}

// edit makes the changes that changed describes.
func (f *configFile) edit(d edited, given, a Agent, join []string) error {
	var failed []error
	set := func(value any, key string, further ...string) {
		failed = append(failed, d.set(value, key, further...))
	}
	if f.config.Agent.ID != a.ID {
		set(a.ID, "agent", "id")
	}
	d.remove("cluster", "bootstrap-expect")
	set(join, "cluster", "join")
	if given.API != "" {
		set(given.API, "api", "listen")
	}
	if given.Cluster != "" {
		set(given.Cluster, "cluster", "listen")
	}
	if given.Forwards {
		set(false, "raft", "enabled")
	}
	own := OwnFiles(a.DataDir)
	if !f.config.Cluster.Enrols() && f.config.Cluster.TLS != own {
		set(map[string]string{"ca": own.CA, "cert": own.Cert, "key": own.Key}, "cluster", "tls")
	}
	if host, _, _ := net.SplitHostPort(a.API); !inbound.IsLoopback(host) && f.config.API.TLS.Cert == "" {
		set(own.Cert, "api", "tls", "cert")
		set(own.Key, "api", "tls", "key")
	}
	return errors.Join(failed...)
}

// edited is a mapping whose values are changed in place.
type edited struct{ node *yaml.Node }

// find returns where the value of a key is, -1: nowhere.
func (d edited) find(key string) int {
	for i := 0; i+1 < len(d.node.Content); i += 2 {
		if d.node.Content[i].Value == key {
			return i + 1
		}
	}
	return -1
}

// set sets a value, and keeps its comments.
func (d edited) set(value any, key string, further ...string) error {
	at := d.find(key)
	if at < 0 {
		d.node.Content = append(d.node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &yaml.Node{Kind: yaml.MappingNode})
		at = len(d.node.Content) - 1
	}
	was, is := d.node.Content[at], &yaml.Node{}
	if was.Kind == yaml.AliasNode {
		return fmt.Errorf("%s is an alias, *%s: write out what it means", key, was.Value)
	}
	if len(further) > 0 {
		if was.Kind != yaml.MappingNode { // empty
			was = &yaml.Node{Kind: yaml.MappingNode}
			d.node.Content[at] = was
		}
		return edited{was}.set(value, further[0], further[1:]...)
	}
	if err := is.Encode(value); err != nil {
		return err
	}
	is.LineComment, is.HeadComment, is.FootComment = was.LineComment, was.HeadComment, was.FootComment
	d.node.Content[at] = is
	return nil
}

// remove removes a key.
func (d edited) remove(section, key string) {
	at := d.find(section)
	if at < 0 {
		return
	}
	in := d.node.Content[at]
	if i := (edited{in}).find(key); i > 0 {
		in.Content = append(in.Content[:i-1], in.Content[i+1:]...)
	}
}
