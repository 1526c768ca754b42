package benchmarks

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/callstream"
)

// The numbers of methods on a stream.
const (
	extendNumber        = 258
	listNumber          = 264
	watchNumber         = 266
	listResourcesNumber = 516
	watchResourceNumber = 518
	watchChangesNumber  = 772
)

// failingExtends extends, on eight streams, a lease that nobody holds.
func failingExtends(ctx context.Context, t *target) error {
	streams := make([]*callstream.Stream, 8)
	for i := range streams {
		s, err := callstream.New(callstream.Config{HTTP: unencrypted(), BaseURL: "http://" + t.API, Header: t.show(http.Header{})})
		if err != nil {
			return err
		}
		defer s.Close()
		streams[i] = s
	}
	body, err := proto.Marshal(&interrexv1.ExtendRequest{Key: "attack/none", Token: 1})
	if err != nil {
		return err
	}
	paced(ctx, len(streams)*8, 8000, func(c int) {
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = streams[c%len(streams)].Call(bounded, &interrexv1.Operation{Method: extendNumber, Body: body})
		t.made.Add(1)
	})
	return nil
}

func madeUpNames(ctx context.Context, t *target) error {
	c := unencrypted()
	t.post(ctx, c, "LeaseService/Claim", `{"key":"attack/taken","holder":"attacker","ttl":"3600s"}`)
	paced(ctx, 64, 4000, func(int) {
		t.post(ctx, c, "LeaseService/Claim", `{"key":"attack/taken","holder":"x","request_id":"`+rand.Text()+`.1"}`)
	})
	return nil
}

func takeovers(ctx context.Context, t *target) error {
	c := unencrypted()
	metadata := strings.Repeat("m", 4000)
	paced(ctx, 32, 1000, func(int) {
		t.post(ctx, c, "LeaseService/Claim", fmt.Sprintf(`{"key":"attack/mine","holder":"attacker","takeover":true,"request_id":%q,"metadata":{"m":%q}}`, rand.Text(), metadata))
	})
	return nil
}

func smallAppends(ctx context.Context, t *target) error {
	c := unencrypted()
	paced(ctx, 64, 4000, func(int) { t.post(ctx, c, "ChangeService/Append", `{"data":{"app":"x"}}`) })
	return nil
}

// big is nearly as much as a resource or a change may have.
var big = strings.Repeat("x", 500<<10)

func bigAppends(ctx context.Context, t *target) error {
	c := unencrypted()
	paced(ctx, 8, 20, func(int) { t.post(ctx, c, "ChangeService/Append", `{"data":"`+big+`"}`) })
	return nil
}

func bigResources(ctx context.Context, t *target) error {
	c := unencrypted()
	paced(ctx, 8, 20, func(i int) {
		t.do(ctx, c, http.MethodPut, fmt.Sprintf("/kv/big%d?namespace=attack", i), big, http.Header{})
	})
	return nil
}

// silentWebhooks registers webhooks that take calls and never answer, makes claims that
// wait for them, and tests them.
func silentWebhooks(ctx context.Context, t *target) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close() // it accepts nothing: the kernel does
	c := unencrypted()
	for i, when := range []string{"before", "after"} {
		set := fmt.Sprintf(`{"webhook":{"name":"silent%d","url":"http://%s/","when":%q,"prefixes":["attack/"],"timeout":"30s"}}`, i, l.Addr(), when)
		if status := t.post(ctx, c, "WebhookService/Set", set); status != http.StatusOK {
			return fmt.Errorf("cannot register a webhook: status %d", status)
		}
	}
	paced(ctx, 512, 2048, func(i int) {
		switch method := [...]string{"claim", "claim", "test", "set"}[i%4]; method {
		case "test":
			t.post(ctx, c, "WebhookService/Test", `{"name":"silent0"}`)
		case "set":
			t.post(ctx, c, "WebhookService/Set", fmt.Sprintf(`{"webhook":{"name":"set%d","url":"http://%s/","prefixes":["attack/"]}}`, i%8, l.Addr()))
		default:
			t.post(ctx, c, "LeaseService/Claim", fmt.Sprintf(`{"key":"attack/%d","holder":"x","ttl":"60s"}`, i))
		}
	})
	return nil
}

// unreadStreams sends the same operation up to 2 000 times a second, on 16 streams whose
// answers it does not read.
func unreadStreams(ctx context.Context, t *target, o *interrexv1.Operation, q proto.Message) (err error) {
	if o.Body, err = proto.Marshal(q); err != nil {
		return err
	}
	each(ctx, 16, func(int) {
		service := interrexv1.NewStreamServiceClient(unencrypted(), "http://"+t.API, connect.WithGRPC())
		conn := service.Operate(ctx)
		t.show(conn.RequestHeader())
		for id := uint64(1); ctx.Err() == nil; id++ {
			next := &interrexv1.Operation{Id: id, Method: o.Method, Body: o.Body}
			if conn.Send(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{next}}) != nil {
				return
			}
			t.made.Add(1)
			pause(ctx, 8*time.Millisecond)
		}
	})
	return nil
}

func unreadLists(ctx context.Context, t *target) error {
	return unreadStreams(ctx, t, &interrexv1.Operation{Method: listNumber}, &interrexv1.ListRequest{Namespace: "attack"})
}

func unreadResources(ctx context.Context, t *target) error {
	t.fillResources(ctx)
	return unreadStreams(ctx, t, &interrexv1.Operation{Method: listResourcesNumber}, &interrexv1.ResourceServiceListRequest{Type: valueType, Tenancy: attackTenancy})
}

// jsonLists requests lists of 1 000 leases, on calls of their own.
func jsonLists(ctx context.Context, t *target) error {
	c := unencrypted()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := i; n < 1000; n += 16 {
				t.post(ctx, c, "LeaseService/Claim", fmt.Sprintf(`{"key":"attack/%d","holder":"x","ttl":"600s","takeover":true}`, n))
			}
		})
	}
	all.Wait()
	paced(ctx, 64, 200, func(int) { t.post(ctx, c, "LeaseService/List", `{"namespace":"attack"}`) })
	return nil
}

var (
	valueType     = &interrexv1.ResourceType{Group: "interrex", GroupVersion: "v1", Kind: "Value"}
	attackTenancy = &interrexv1.Tenancy{Namespace: "attack"}
)

// fillResources writes 64 keys of 32 KiB.
func (t *target) fillResources(ctx context.Context) {
	c := unencrypted()
	for i := range 64 {
		t.do(ctx, c, http.MethodPut, fmt.Sprintf("/kv/fill%d?namespace=attack", i), big[:32<<10], http.Header{})
	}
}

// unreadWatches opens watches of leases, resources and changes, each with what there is
// already, and never reads; it claims meanwhile, so that they have much to send.
func unreadWatches(ctx context.Context, t *target) error {
	t.fillResources(ctx)
	go paced(ctx, 8, 200, func(i int) {
		t.post(ctx, http.DefaultClient, "LeaseService/Claim", fmt.Sprintf(`{"key":"attack/%d","holder":"x","ttl":"60s","takeover":true}`, i))
	})
	opens := []*interrexv1.WatchOpen{{Method: watchNumber}, {Method: watchResourceNumber}, {Method: watchChangesNumber}}
	for i, q := range []proto.Message{
		&interrexv1.WatchRequest{Namespace: "attack"},
		&interrexv1.ResourceServiceWatchRequest{Type: valueType, Tenancy: attackTenancy},
		&interrexv1.ChangeServiceWatchRequest{},
	} {
		var err error
		if opens[i].Body, err = proto.Marshal(q); err != nil {
			return err
		}
	}
	each(ctx, 16, func(int) {
		service := interrexv1.NewStreamServiceClient(unencrypted(), "http://"+t.API, connect.WithGRPC())
		conn := service.Watch(ctx)
		t.show(conn.RequestHeader())
		for id := uint64(1); ctx.Err() == nil; id++ {
			open := &interrexv1.WatchOpen{Id: id, Credit: 65536, Method: opens[id%3].Method, Body: opens[id%3].Body}
			if conn.Send(&interrexv1.StreamServiceWatchRequest{Opens: []*interrexv1.WatchOpen{open}}) != nil {
				return
			}
			t.made.Add(1)
			pause(ctx, 10*time.Millisecond) // 1 600 a second in all
		}
	})
	return nil
}

// idleWatches opens 10 000 watches that match nothing.
func idleWatches(ctx context.Context, t *target) error {
	clients := make([]*client.Client, 10)
	for i := range clients {
		c, err := client.Dial(ctx, client.Config{Addresses: []string{"http://" + t.API}})
		if err != nil {
			return err
		}
		defer c.Close()
		clients[i] = c
	}
	opened(ctx, 10_000, opening, func(i int) {
		w, err := clients[i%len(clients)].Leases().Watch(ctx, interrex.WatchRequest{Namespace: "attack", Prefix: fmt.Sprint("nothing/", i, "/")})
		t.made.Add(1)
		for err == nil {
			_, err = w.Next(ctx)
		}
	})
	return nil
}

// longPolls keeps 10 000 reads of the feed that wait for what does not come.
func longPolls(ctx context.Context, t *target) error {
	c := unencrypted()
	opened(ctx, 10_000, opening, func(i int) {
		status := t.do(ctx, c, http.MethodGet, fmt.Sprintf("/changes?tag=none%d&block=60s", i), "", http.Header{})
		if status != http.StatusOK {
			pause(ctx, time.Second) // it is refused for now
		}
	})
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// refusedTokens claims with a token that does not exist.
func refusedTokens(ctx context.Context, t *target) error {
	c := unencrypted()
	t.Token = accesstoken.New().String()
	paced(ctx, 64, 4000, func(int) { t.post(ctx, c, "LeaseService/Claim", `{"key":"attack/x","holder":"x"}`) })
	return nil
}

// deniedCalls calls with a token what that does not allow.
func deniedCalls(ctx context.Context, t *target) error {
	c := unencrypted()
	calls := []string{"TokenService/List", "TokenService/Create", "WebhookService/List", "LeaseService/List"}
	paced(ctx, 64, 4000, func(i int) { t.post(ctx, c, calls[i%len(calls)], `{}`) })
	return nil
}

// bomb returns 3 MiB of zeros, compressed.
func bomb() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, 3<<20))
	_ = w.Close()
	return b.Bytes()
}

func bombs(ctx context.Context, t *target) error {
	c, body := unencrypted(), string(bomb())
	paced(ctx, 64, 400, func(int) {
		t.do(ctx, c, http.MethodPost, "/interrex.v1.LeaseService/Claim", body, http.Header{"Content-Type": {"application/proto"}, "Content-Encoding": {"gzip"}})
	})
	return nil
}

// droppedConnections are clients that are killed: each opens a stream, asks for a name,
// and is gone.
func droppedConnections(ctx context.Context, t *target) error {
	paced(ctx, 32, 100, func(int) {
		c := unencrypted()
		defer c.CloseIdleConnections()
		life, kill := context.WithCancel(ctx)
		defer kill()
		t.post(life, c, "StateService/OpenName", `{}`)
		conn := interrexv1.NewStreamServiceClient(c, "http://"+t.API, connect.WithGRPC()).Operate(life)
		_ = conn.Send(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{{Id: 1, Method: listNumber}}})
	})
	return nil
}
