package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/check"
)

// lookupLimit bounds the lookup of all names.
const lookupLimit = 5 * time.Second

// listening reports whether the agent can listen where it is to. Ports of an agent that
// runs are left alone.
func listening(ctx context.Context, c config.Config, runs bool) (all []Finding) {
	for _, port := range []struct{ key, address string }{{"api.listen", c.API.Listen}, {"cluster.listen", c.Cluster.Listen}} {
		switch {
		case port.address == "":
		case port.key == "cluster.listen" && !c.Cluster.TLS.Present():
			all = append(all, ok("port", "%s: not used, because an agent without cluster.tls is alone", port.key))
		case port.key == "cluster.listen" && c.Raft.Enabled == config.Off:
			all = append(all, ok("port", "%s: not used, because the agent runs without raft", port.key))
		case runs:
			all = append(all, ok("port", "%s: %s belongs to the agent that runs here", port.key, port.address))
		default:
			all = append(all, portOf(port.key, port.address, check.Port(ctx, port.key, port.address)))
		}
	}
	return all
}

func portOf(key, address string, err error) Finding {
	switch {
	case err == nil:
		return ok("port", "%s: %s is free", key, address)
	case errors.Is(err, unix.EADDRINUSE):
		_, port, _ := net.SplitHostPort(address)
		return found("port", Fail, "stop the program that has it ('ss -ltnp sport = :"+port+"'), or change "+key, "%v", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return found("port", Fail, "use an address of this machine in "+key, "%v", err)
	}
	return found("port", Fail, "correct "+key, "%v", err)
}

// named is an address of the configuration by its key.
type named struct{ key, address string }

// names reports whether the names of hosts in the configuration resolve.
func names(ctx context.Context, c config.Config) []Finding {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	own := []named{{"api.listen", c.API.Listen}, {"api.advertise", c.API.Advertise}, {"cluster.listen", c.Cluster.Listen}, {"cluster.advertise", c.Cluster.Advertise}}
	var join []named
	for _, address := range c.Cluster.Join {
		join = append(join, named{"cluster.join", address})
	}
	all := resolve(ctx, own, Fail)
	others := resolve(ctx, join, Warn)
	failed := func(f Finding) bool { return f.Level != OK }
	if len(others) > 0 && len(others) == len(join) && !slices.ContainsFunc(others, func(f Finding) bool { return !failed(f) }) {
		for i := range others {
			others[i].Level = Fail // no way into the cluster is left
		}
	}
	if all = append(all, others...); len(all) == 0 {
		return []Finding{ok("names", "the configuration names no host: all addresses are numeric")}
	}
	return all
}

// resolve looks the names up; numeric addresses are skipped.
func resolve(ctx context.Context, addresses []named, level Level) (all []Finding) {
	for _, n := range addresses {
		host, _, err := net.SplitHostPort(n.address)
		if _, numeric := netip.ParseAddr(host); err != nil || host == "" || numeric == nil {
			continue
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			all = append(all, found("names", level, "add it to the DNS or to /etc/hosts, or correct "+n.key, "%s: %s does not resolve: %v", n.key, host, err))
			continue
		}
		all = append(all, ok("names", "%s: %s is %s", n.key, host, strings.Join(ips, ", ")))
	}
	return all
}
