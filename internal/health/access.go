package health

import (
	"fmt"
	"net"
	"time"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/wording"
)

func (v View) apiDown() []alarm.Finding {
	if v.Config.API.Listen == "" || v.BoundAPI != "" || v.Waits != "" {
		return nil
	}
	if v.APIDown != nil {
		return alarm.Found(v.APIDown.Error())
	}
	return alarm.Found("nothing listens on " + v.Config.API.Listen)
}

func (v View) apiOpen() []alarm.Finding {
	api := v.Config.API
	host, _, err := net.SplitHostPort(api.Listen)
	if err != nil || inbound.IsLoopback(host) || api.TLS.ClientCA != "" || !api.Open || v.Waits != "" || v.Forwards {
		return nil
	}
	if v.Leadership.LeaderID == "" {
		return nil // without its cluster it does not know whether there are tokens
	}
	if v.Access != nil {
		if _, open := v.Access.Open(); !open {
			return nil
		}
	}
	return alarm.Found(fmt.Sprintf("the API at %s accepts requests from everyone, operators' too, because it requires neither an access token nor a client certificate", api.Listen))
}

func (v View) certificateEnding() (found []alarm.Finding) {
	for which, end := range v.certificateEnds() {
		switch left := end.Sub(v.At); {
		case left <= 0:
			found = append(found, alarm.Finding{Subject: which, Text: "it expired at " + end.UTC().Format(time.RFC3339)})
		case left <= certificateNotice:
			found = append(found, alarm.Finding{Subject: which, Text: fmt.Sprintf("it expires in %s, at %s", wording.Rounded(left), end.UTC().Format(time.RFC3339))})
		}
	}
	return found
}

func (v View) certificateUnusable() (found []alarm.Finding) {
	for which, source := range v.certificates() {
		files, is := source.(interface{ Problem() error })
		if !is {
			continue
		}
		if err := files.Problem(); err != nil {
			found = append(found, alarm.Finding{Subject: which, Text: err.Error()})
		}
	}
	return found
}
